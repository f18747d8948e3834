"""Light heads against torchvision's, at equal measured milliseconds of the whole model, after equal trainings.

    python benchmarks/heads.py --task det --data DIR --data DIR --runs FILE [--rate .001] [--first-layers .1] [--keep]

The budget is what torchvision's head takes on a backbone of a quarter of the way from the smallest to the largest; the
light head then gets the largest backbone with which it takes no longer, half-way to the largest one at most, which
trains in minutes. Backbones are of the bundled photo supernet.
Data as `zoo finetune --data` reads it. A run that stands in FILE is not made again.
"""

import argparse
import json
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from results import Section, Table, keep
from torch import Tensor, nn

from export.types import Preprocess
from hardware_profiles.measure.models import to_onnx_bytes
from hardware_profiles.runners import OnnxRunner
from hardware_profiles.timing.timing import time_runners
from search.finetune.losses import mask_loss
from search.labels.arrays import Targets
from search.labels.read import Split, read_split
from search.nets import NETS, Backbone
from search.types import Architecture, Task
from zoo.devices.tables import this_device
from zoo.heads.detector import Detector
from zoo.heads.network import KINDS, make_network
from zoo.heads.predictions import by_torch, judge
from zoo.heads.segmenter import Segmenter
from zoo.make.finetune import Recipe, fit, loss_of
from zoo.supernets import read_supernet
from zoo.types import HeadCard

NET, LEVELS, OLD_AT, MOST_AT = NETS["mobile-photo"], 17, 4, 8
OLD = {Task.DET: "RetinaNet", Task.SEG: "torchvision's LR-ASPP"}


class Old(nn.Module):
    """torchvision's head on a backbone; outputs as a ``Network``'s."""

    def __init__(self, backbone: Backbone, task: Task, classes: int, size_px: int) -> None:
        super().__init__()
        self.backbone, self.task = backbone, task  # under this name its first layers learn slowly, too
        self.whole = Detector(backbone, classes, size_px) if task is Task.DET else Segmenter(backbone, classes, size_px)

    def loss(self, x_NCHW: Tensor, targets: Targets) -> Tensor:
        if self.task is Task.SEG:
            return mask_loss(self.whole(x_NCHW)["out"], targets)
        assert targets.boxes_NM4 is not None and targets.labels_NM is not None
        rows = zip(targets.boxes_NM4, targets.labels_NM, strict=True)
        known = [{"boxes": boxes[labels >= 0], "labels": labels[labels >= 0]} for boxes, labels in rows]
        return torch.stack(list(self.whole(list(x_NCHW), known).values())).sum()

    def forward(self, x_NCHW: Tensor) -> dict[str, Tensor]:
        return self.whole.outputs(x_NCHW)


class Joined(nn.Module):
    """All outputs in one tensor, for the timing."""

    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return torch.cat([found.flatten(1) for found in self.whole(x_NCHW).values()], 1)


def at_level(level: int, size_px: int) -> Architecture:
    row = [round(level / (LEVELS - 1) * (len(choice.options) - 1)) for choice in NET.space]
    return NET.decode(np.array([row]), size_px)[0]


def make(kind: str, backbone: Backbone, task: Task, classes: tuple[str, ...], size_px: int, seed: int) -> nn.Module:
    if kind == "light":
        return make_network(backbone, HeadCard(kind=KINDS[task], task=task, classes=classes), size_px, seed=seed)
    torch.manual_seed(seed)
    return Old(backbone, task, len(classes), size_px)


def timed(task: Task, classes: tuple[str, ...], size_px: int) -> dict[str, tuple[Architecture, float]]:
    """A backbone for each head, and what the whole takes."""
    with tempfile.TemporaryDirectory() as scratch:
        subjects = {}
        x = {"input": np.random.default_rng(0).standard_normal((1, 3, size_px, size_px), dtype=np.float32)}
        for kind, levels in (("old", [OLD_AT]), ("light", range(MOST_AT + 1))):
            for level in levels:
                whole = make(kind, NET.build(at_level(level, size_px)), task, classes, size_px, 0).eval()
                path = Path(scratch) / f"{kind}-{level}.onnx"
                path.write_bytes(to_onnx_bytes(Joined(whole), (1, 3, size_px, size_px)))
                subjects[kind, level] = (lambda path=path: OnnxRunner(path, threads=1), x)
        latencies = time_runners(list(subjects.values()), rounds=16, max_seconds=0.02)
        ms = {f"{kind} {level}": one.median_ms for (kind, level), one in zip(subjects, latencies, strict=True)}
    budget = ms[f"old {OLD_AT}"]
    best = max((level for level in range(MOST_AT + 1) if ms[f"light {level}"] <= budget), default=0)
    return {
        "old": (at_level(OLD_AT, size_px), round(budget, 3)),
        "light": (at_level(best, size_px), round(ms[f"light {best}"], 3)),
    }


def run(
    kind: str, architecture: Architecture, split: Split, size_px: int, epochs: int, seed: int, **rates: float
) -> dict[str, object]:
    ready = read_supernet("mobile-photo-mocov2").supernet
    task = split.train.task
    network = make(kind, ready.subnet(architecture), task, split.train.classes, size_px, seed).train()
    how = Preprocess(size_px=(size_px, size_px), mean=ready.card.mean, std=ready.card.std, fit="letterbox")
    with tempfile.TemporaryDirectory() as scratch:
        done, _ = fit(
            network,
            split,
            how,
            Recipe(epochs=epochs, patience=epochs, seed=seed, **rates),
            work=Path(scratch),
            loss=lambda one, x, targets: one.loss(x, targets) if isinstance(one, Old) else loss_of(one, x, targets),
            progress=lambda *at: None,
            say=print,
        )
    score = judge(by_torch(network), split.val, how)
    return {"scores": {name: round(value, 4) for name, value in score.values.items()}, "minutes": done.minutes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=[str(task) for task in OLD])
    parser.add_argument("--data", type=Path, action="append", default=[])
    parser.add_argument("--size-px", type=int, default=160)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--first-layers", type=float, default=0.1)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--time", action="store_true", help="time the heads on the data's classes, and train nothing")
    parser.add_argument("--keep", action="store_true", help="keep the table of FILE in benchmarks/runs")
    args = parser.parse_args()
    rates = {"rate": args.rate, "first_layers": args.first_layers}
    known = [json.loads(line) for line in args.runs.read_text("utf-8").splitlines()] if args.runs.exists() else []
    for data in args.data:
        split = read_split(data, Task(args.task))
        where = {"data": data.name, "task": args.task, "kind": "times"}
        times = [one for one in known if where.items() <= one.items()]
        if not times:
            chosen = timed(split.train.task, split.train.classes, args.size_px)
            wheres = {kind: [list(one.choices), ms] for kind, (one, ms) in chosen.items()}
            times = [{**where, **wheres}]
            add(args.runs, times[0])
        for seed in [] if args.time else args.seeds:
            for kind in ("light", "old"):
                choices, ms = times[0][kind]
                key = {"data": data.name, "task": args.task, "kind": kind, "seed": seed, "epochs": args.epochs, **rates}
                if any(key.items() <= one.items() for one in known):
                    continue
                architecture = Architecture(net=NET.name, choices=tuple(choices), resolution_px=args.size_px)
                print(key, f"{ms} ms", flush=True)
                add(
                    args.runs,
                    {**key, "ms": ms, **run(kind, architecture, split, args.size_px, args.epochs, seed, **rates)},
                )
    if args.keep:
        keep_runs(args)


def _kinds(choices: list[str]) -> str:
    """The blocks of a backbone, the most frequent first."""
    return ", ".join(f"{count} {block}" for block, count in Counter(choices).most_common())


def add(path: Path, one: dict[str, object]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(one) + "\n")


def keep_runs(args: argparse.Namespace) -> None:
    runs = [json.loads(line) for line in args.runs.read_text("utf-8").splitlines()]
    rows: list[list[str | int | float | None]] = [
        [
            one["data"],
            "light" if one["kind"] == "light" else OLD[Task(one["task"])],
            one["ms"],
            one["epochs"],
            one["seed"],
            ", ".join(f"{name} {100 * value:.1f}" for name, value in one["scores"].items()),
            one["minutes"],
        ]
        for one in runs
        if one["kind"] != "times"
    ]
    columns = ["data", "head", "whole, ms", "epochs", "seed", "scores, %", "minutes"]
    times: list[list[str | int | float | None]] = [
        [one["data"], "light" if kind == "light" else OLD[Task(one["task"])], _kinds(one[kind][0]), one[kind][1]]
        for one in runs
        if one["kind"] == "times"
        for kind in ("old", "light")
    ]
    tables = [Table(caption="Whole models, timed in turns.", columns=["data", "head", "backbone", "ms"], rows=times)]
    tables += [Table(caption="Trained alike, validated by torch.", columns=columns, rows=rows)] if rows else []
    keep(
        "heads",
        Section(
            title="Light heads and torchvision's",
            order=45,
            command=(__doc__ or "").split("\n\n")[1].strip(),
            machine=f"{this_device().chip}, ONNX Runtime, 1 thread, fp32, {args.size_px} px",
            date=f"{datetime.now(UTC):%Y-%m-%d}",
            text="torchvision's heads on a backbone a quarter of the way from the smallest to the largest, and light"
            " ones on the largest backbone of at most half the way that takes no longer. RetinaNet takes five times as"
            " long as the light head does with a larger backbone: no budget of a few milliseconds holds it. Trained"
            " alike, at a rate of .001, the light heads find more on the sets in the second table; one seed.",
            tables=tables,
        ),
    )


if __name__ == "__main__":
    main()
