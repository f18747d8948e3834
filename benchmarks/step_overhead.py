"""What does the supernet cost over plain torch? One step through NNI against the same passes on plain networks.

    python benchmarks/step_overhead.py [--net mobile] [--batch 64] [--crop 16] [--pairs 7] [--keep]

Both do: keys of the teacher, then forward, loss and backward of the same three networks, then the optimizer and the
teacher's update. They alternate, A B A B, in one process, so that a drift of the machine hits both; the ratio is that
of each pair. Also printed: images a second and the process's peak memory.
"""

import argparse
import json
import resource
import time
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import torch
from results import RUNS, Section, Table, keep

from search.nets import NETS
from search.nets.layers import projector_of
from search.objectives import info_nce
from search.oneshot.space import SupernetSpace
from search.oneshot.ssl import SSL
from search.oneshot.strategy import Sandwich, SandwichModule
from search.recipes import Recipe, Stage
from search.supernet import load_slices
from zoo.devices.tables import this_device

KEPT = RUNS / "step_overhead.jsonl"


class Supernet:
    """Our step, without Lightning's loop around it."""

    def __init__(self, recipe: Recipe, pixels: torch.Tensor) -> None:
        ssl = SSL(recipe, pixels)
        space = SupernetSpace(ssl.net, hidden_dim=recipe.hidden_dim, projection_dim=recipe.projection_dim)
        ssl.set_model(Sandwich().mutate_model(space))
        self.ssl, self.module = ssl, SandwichModule(ssl)
        self.optimizer = ssl.configure_optimizers()
        self.module.train()

    def step(self, step: int) -> None:
        ssl = self.ssl
        x1, x2 = ssl.two_views(step)
        targets = ssl.targets(x1, x2)
        self.optimizer.zero_grad()
        for student in ssl.students(step):
            self.module.choose(student.architecture)
            (ssl.objective.loss(ssl.encode(x1, x2), targets) / student.divisor).backward()
        self.optimizer.step()
        ssl.objective.update(ssl.student, targets, ema=ssl.recipe.ema_at(ssl.plan.progress(step)))


class Plain:
    """The same passes on networks that are built beforehand, each alone, in plain torch."""

    def __init__(self, other: Supernet, steps: int) -> None:
        self.other = other
        ssl, r = other.ssl, other.ssl.recipe
        self.networks = [[self._projected(s.architecture) for s in ssl.students(step)] for step in range(steps)]
        self.optimizers = [
            torch.optim.SGD([p for m in ms for p in m.parameters()], r.lr, momentum=r.momentum) for ms in self.networks
        ]

    def _projected(self, architecture: object) -> torch.nn.Sequential:
        ssl = self.other.ssl
        backbone = NETS[ssl.recipe.net].build(architecture)  # type: ignore[arg-type]
        projector = projector_of(int(backbone.embedding_dim), ssl.recipe.hidden_dim, ssl.recipe.projection_dim)
        load_slices(backbone, {k.removeprefix("backbone."): v.detach() for k, v in ssl.student.items()})
        return torch.nn.Sequential(backbone, projector).to(memory_format=torch.channels_last).train()

    def step(self, step: int) -> None:
        ssl = self.other.ssl
        x1, x2 = ssl.two_views(step)
        (keys,) = ssl.targets(x1, x2)
        self.optimizers[step].zero_grad()
        for network in self.networks[step]:
            q = torch.nn.functional.normalize(network(x1), dim=1)
            (info_nce(q, keys, ssl.objective.queue.keys_KD, ssl.recipe.temperature) / 3).backward()
        self.optimizers[step].step()
        ssl.objective.update(ssl.student, (keys,), ema=ssl.recipe.ema_at(ssl.plan.progress(step)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="mobile", choices=list(NETS))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--crop", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--keep", action="store_true", help="in place of what was kept of this net")
    args = parser.parse_args()

    pixels = torch.randint(0, 256, (args.batch * 4, 3, 64, 64), dtype=torch.uint8)
    stages = (Stage(until=1.0, crop_px=args.crop),)
    recipe = replace(Recipe(), net=args.net, batch=args.batch, queue=args.batch * 16, stages=stages, epochs=100)
    supernet = Supernet(recipe, pixels)
    plain = Plain(supernet, args.pairs + 1)
    seconds: dict[str, list[float]] = {"supernet": [], "plain": []}
    for step in range(args.pairs + 1):  # the first pair warms up
        for name, side in (("supernet", supernet), ("plain", plain)):
            started = time.perf_counter()
            side.step(step)
            if step:
                seconds[name].append(time.perf_counter() - started)
    ratios = np.array(seconds["supernet"]) / np.array(seconds["plain"])
    result = {
        "net": args.net,
        "batch": args.batch,
        "crop_px": args.crop,
        "threads": torch.get_num_threads(),
        "precision": "fp32",
        "supernet_s": round(float(np.median(seconds["supernet"])), 3),
        "plain_s": round(float(np.median(seconds["plain"])), 3),
        "ratio_median": round(float(np.median(ratios)), 3),
        "ratio_min_max": [round(float(ratios.min()), 3), round(float(ratios.max()), 3)],
        "images_per_s": round(args.batch / float(np.median(seconds["supernet"])), 1),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(result))
    if args.keep:
        keep_run(result)


def keep_run(result: dict[str, object]) -> None:
    known = [json.loads(line) for line in KEPT.read_text("utf-8").splitlines()] if KEPT.exists() else []
    runs = [*(one for one in known if one["net"] != result["net"]), result]
    KEPT.write_text("".join(json.dumps(one) + "\n" for one in runs), "utf-8")
    rows = [
        [
            one["net"],
            one["crop_px"],
            "{:.2f} ({:.2f} to {:.2f})".format(one["ratio_median"], *one["ratio_min_max"]),
            one["images_per_s"],
            one["peak_mb"],
        ]
        for one in runs
    ]
    columns = ["net", "crops, px", "supernet's step / plain passes", "images/s", "peak memory, MB"]
    section = Section(
        title="What does a step of supernet training cost?",
        order=50,
        command="python benchmarks/step_overhead.py --keep\npython benchmarks/step_overhead.py --net resnet --keep\n"
        "python benchmarks/step_overhead.py --net mobile-photo --crop 64 --keep",
        machine=f"{this_device().chip}, torch, 1 thread, fp32",
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        text="Through NNI and Lightning's module, against the same passes on plain networks, in pairs: median, range.",
        tables=[Table(caption="", columns=columns, rows=rows)],
    )
    keep("step_overhead", section)


if __name__ == "__main__":
    main()
