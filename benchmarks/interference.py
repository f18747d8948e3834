"""What does sharing weights cost? Three networks cut from a supernet against the same three trained alone.

    python benchmarks/interference.py --train DIR --test DIR --out interference.jsonl

The smallest, a median (by multiply-accumulates, of 101 random ones) and the largest network; all with the same number
of optimizer steps, images, augmentation and seeds, by one recipe. The supernet is trained plainly (largest, smallest
and a random network a step, equal weights), with each option of the recipe alone, and with several together. Judged on
frozen features, statistics recalibrated: weighted k-NN (k = 200) and a linear classifier. A labelled set is a folder
with one sub-folder a class; labels only judge.

Each training is a line of ``--out``; the same command goes on where it stopped. Without a GPU the net is `resnet` with
half its widths and fewer blocks at 16 px of SimCLR. A single network's
gradients are clipped at norm 5, a supernet's are not: that is how either is trained by `zoo pretrain`.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from runs import add_run, read_runs

from hardware_profiles import count_compute
from search.evaluate import (
    Labelled,
    Preprocessing,
    embed,
    knn_accuracy,
    linear_accuracy,
    read_labelled,
    recalibrate_on,
)
from search.nets import NETS, Net
from search.nets.resnet import ResNet, ResNetPreset
from search.oneshot.pretrain import pretrain
from search.recipes import Recipe, Stage, recipe_for
from search.running import Running
from search.supernet import Supernet
from search.types import Architecture

HALF = ResNetPreset(
    name="resnet-half",
    stem_kernel=3,
    stem_widths=(8, 12, 16),
    widths=((6, 8, 10), (12, 16, 20), (24, 32, 40), (48, 64, 80)),
    depths=((1, 2), (1, 2), (1, 2, 3), (1, 2)),
)
PLAIN = "plain"
OPTIONS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "distill 0.5": {"distill": 0.5},
    "slow start 0.25": {"slow_start": 0.25},
    "loss weights 2 1 1": {"loss_weights": (2.0, 1.0, 1.0)},
    "norm groups 4": {"norm_groups": 4},
    "elastic 0.75": {"elastic": (0.75, 1.0)},
    "distill, slow start, weights": {"distill": 0.5, "slow_start": 0.25, "loss_weights": (2.0, 1.0, 1.0)},
}
ROLES = ("smallest", "median", "largest")
ON_GPU = torch.cuda.is_available()


@dataclass(frozen=True, kw_only=True)
class Run:
    """A training, and accuracies 0..1 by network: of one network alone, or of three out of a supernet."""

    trained: str
    seed: int
    knn: dict[str, float]
    linear: dict[str, float]
    seconds: float


def networks(net: Net, px: int) -> dict[str, Architecture]:
    rng = np.random.default_rng(0)
    drawn = sorted((net.random(px, rng) for _ in range(101)), key=macs)
    return {"smallest": net.smallest(px), "median": drawn[50], "largest": net.largest(px)}


def macs(architecture: Architecture) -> int:
    with torch.device("meta"):
        backbone = NETS[architecture.net].build(architecture)
    return count_compute(backbone, (1, 3, architecture.resolution_px, architecture.resolution_px)).macs


def do(recipe: Recipe, chosen: dict[str, Architecture], train: Labelled, test: Labelled, name: str) -> Run:
    started = time.perf_counter()
    torch.manual_seed(recipe.seed)
    with tempfile.TemporaryDirectory() as folder:
        supernet = pretrain(
            recipe, train.pixels, Path(folder), name=name, data={}, running=Running(checkpoint_steps=10**9)
        )
    scores = {role: judge(supernet, architecture, train, test) for role, architecture in chosen.items()}
    return Run(
        trained=name,
        seed=recipe.seed,
        knn={role: knn for role, (knn, _) in scores.items()},
        linear={role: linear for role, (_, linear) in scores.items()},
        seconds=round(time.perf_counter() - started, 1),
    )


def judge(supernet: Supernet, architecture: Architecture, train: Labelled, test: Labelled) -> tuple[float, float]:
    card = supernet.card
    preprocess = Preprocessing(size_px=card.resolution_px, mean=card.mean, std=card.std)
    backbone = supernet.subnet(architecture)
    recalibrate_on(backbone, train.pixels, preprocess)
    known, asked = (embed(backbone, part.pixels, preprocess) for part in (train, test))
    data = (known, train.labels, asked, test.labels)
    return round(knn_accuracy(*data), 4), round(linear_accuracy(*data), 4)


def tasks(args: argparse.Namespace, chosen: dict[str, Architecture]) -> Iterator[tuple[str, Recipe, list[str]]]:
    """Every training with the networks that come out of it; seed by seed, the comparison before the options."""
    r = args.resolution
    base = replace(
        recipe_for(args.net, args.objective),
        epochs=(args.steps + 0.5) / (args.images // args.batch),  # not a step fewer by rounding
        batch=args.batch,
        stages=(Stage(until=1.0, crop_px=r),),
        precision="auto" if ON_GPU else "fp32",
    )
    base = replace(base, views=replace(base.views, crop_px=r))
    names = args.only or list(OPTIONS)
    for seed, name in product(args.seed or (0, 1), [*ROLES, *names]):
        recipe = replace(base, seed=seed)
        if name in ROLES:
            yield f"{name} alone", replace(recipe, architecture=chosen[name].choices), [name]
        else:
            yield name, replace(recipe, **OPTIONS[name]), list(ROLES)


def table(runs: list[Run]) -> Iterator[str]:
    """Means over seeds in percent, and by how many points they differ from the networks alone with the same seeds."""
    yield "".ljust(36) + "".join(f"{role} {metric}".rjust(17) for role in ROLES for metric in ("k-NN", "linear"))
    by_name = {name: {run.seed: run for run in runs if run.trained == name} for name in {run.trained for run in runs}}
    for name in ("alone", *OPTIONS):
        cells, seeds = [], 0
        for role, metric in product(ROLES, ("knn", "linear")):
            alone = by_name.get(f"{role} alone", {})
            own = alone if name == "alone" else by_name.get(name, {})
            shared, seeds = own.keys() & alone.keys(), len(own)
            mean, other = (mean_of([runs[seed] for seed in shared], metric, role) for runs in (own, alone))
            difference = "" if name == "alone" else f" ({mean - other:+.1f})"
            cells.append(f"{mean:.1f}{difference}".rjust(17))
        if seeds:
            yield f"{name} ({seeds} seeds)".ljust(36) + "".join(cells)


def mean_of(runs: list[Run], metric: str, role: str) -> float:
    """In percent."""
    return float(np.mean([100 * getattr(run, metric)[role] for run in runs])) if runs else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--net", default="resnet" if ON_GPU else HALF.name, choices=["mobile", "resnet", HALF.name])
    parser.add_argument("--objective", default="mocov2", choices=["mocov2", "simclr"])
    parser.add_argument("--resolution", type=int, default=32 if ON_GPU else 16)
    parser.add_argument("--batch", type=int, default=256 if ON_GPU else 64)
    parser.add_argument("--steps", type=int, default=10_000 if ON_GPU else 600)
    parser.add_argument("--seed", type=int, action="append", help="again for more; default: 0 and 1")
    parser.add_argument("--only", action="append", choices=list(OPTIONS), help="again for more; default: all")
    args = parser.parse_args()

    NETS[HALF.name] = ResNet(HALF)
    train, test = (read_labelled(folder, size_px=2 * args.resolution) for folder in (args.train, args.test))
    args.images = len(train.labels)
    chosen = networks(NETS[args.net], args.resolution)
    names = ("net", "objective", "resolution", "batch", "steps", "images")
    settings = {name: getattr(args, name) for name in names} | {"macs": {role: macs(a) for role, a in chosen.items()}}
    runs = read_runs(args.out, settings, Run)
    for name, recipe, roles in tasks(args, chosen):
        if any((run.trained, run.seed) == (name, recipe.seed) for run in runs):
            continue
        runs.append(do(recipe, {role: chosen[role] for role in roles}, train, test, name))
        add_run(args.out, runs[-1])
    print("\n".join(table(runs)))


if __name__ == "__main__":
    main()
