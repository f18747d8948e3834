"""Are searched cells better than random ones? The protocol of SSNAS (see ssl_protocol.py), a table at the end.

    python benchmarks/cells.py --train DIR --test DIR --searched found/seeds/*/genotype.json
        --supervised supervised/*/genotype.json --out cells.jsonl

Rows: the searched cells, those of a supervised search (supervised_darts.py), ``--random`` random cells (uniform, two
distinct inputs a node), and a ResNet-18; all with the same recipe, epochs and seeds. Of each kind two choices are
reported apart, per training seed: without labels (lowest contrastive loss on held-out training images) and with labels
(highest linear accuracy on those). The last lines say how much better searched cells are than random ones, and how well
the loss orders networks by their accuracy. A labelled set is a folder with one sub-folder a class; labels only judge.

Each run is a line of ``--out``; the same command goes on where it stopped. Without a GPU the runs share the cores, one
thread each, and the sizes are those of ``zoo darts --preset quick``: 5 cells of 8 channels at 16 px, and a ResNet-18 of
a quarter of its width.
"""

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path

import numpy as np
import torch
from runs import add_run, read_runs
from scipy.stats import spearmanr
from ssl_protocol import Protocol, Score, Sets, read_sets, score
from thin_resnet import NAME as RESNET18
from thin_resnet import ThinResNet18

from search.nets import Backbone
from search.nets.cell import CELL
from search.nets.genotype import Genotype, random_genotype, read_genotype, to_document

ON_GPU = torch.cuda.is_available()
METRICS = ("linear", "semi")


@dataclass(frozen=True, kw_only=True)
class Task:
    """One network, one batch size, one training seed."""

    kind: str
    name: str
    batch: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Run(Task, Score):
    """What came of it."""

    params: int
    seconds: float


def builders(args: argparse.Namespace) -> dict[tuple[str, str], Callable[[], Backbone]]:
    """How to build each network, by kind and name."""

    def cells(genotype: Genotype) -> Callable[[], Backbone]:
        size = {"cells": args.cells, "channels": args.channels, "resolution_px": args.resolution}
        return lambda: CELL.build(CELL.architecture(genotype, **size))

    rng = np.random.default_rng(args.random_seed)
    made = {("searched", str(path)): cells(read_genotype(path)) for path in args.searched}
    made |= {("supervised", str(path)): cells(read_genotype(path)) for path in args.supervised}
    made |= {("random", f"random {i}"): cells(random_genotype(rng)) for i in range(args.random)}
    if args.resnet_width:
        width = args.resnet_width
        made[RESNET18, f"width {width}"] = lambda: ThinResNet18(width)
    return made


# Of a process that does runs.
_args: argparse.Namespace
_sets: Sets


def begin(args: argparse.Namespace) -> None:
    global _args, _sets
    if args.device == "cpu":
        torch.set_num_threads(args.threads)
    _args = args
    _sets = read_sets(args.train, args.test, resolution=args.resolution, limit=args.limit)


def do(task: Task) -> Run:
    started = time.perf_counter()
    torch.manual_seed(task.seed)
    backbone = builders(_args)[task.kind, task.name]()
    params = sum(p.numel() for p in backbone.parameters())
    protocol = Protocol(**{**{f.name: getattr(_args, f.name) for f in fields(Protocol)}, "batch": task.batch})
    found = score(backbone, _sets, protocol, task.seed)
    return Run(**vars(task), **vars(found), params=params, seconds=round(time.perf_counter() - started, 1))


def summary(runs: Iterable[Run]) -> list[dict[str, object]]:
    """A line for each kind and batch: all its networks, and the two choices among them; mean and spread over runs."""
    lines: list[dict[str, object]] = []
    every = list(runs)
    for kind, batch in dict.fromkeys((run.kind, run.batch) for run in every):
        own = [run for run in every if (run.kind, run.batch) == (kind, batch)]
        by_seed = [[run for run in own if run.seed == seed] for seed in sorted({run.seed for run in own})]
        chosen = {
            "all": own,
            "chosen without labels": [min(group, key=lambda run: run.held_out_loss) for group in by_seed],
            "chosen with labels": [max(group, key=lambda run: run.validation_linear) for group in by_seed],
        }
        for how, picked in chosen.items():
            spread = {metric: mean_and_std([getattr(run, metric) for run in picked]) for metric in METRICS}
            lines.append({"kind": kind, "batch": batch, "which": how, "runs": len(picked), **spread})
    return lines


def differences(runs: Iterable[Run], kind: str = "searched", against: str = "random") -> Iterator[dict[str, object]]:
    """How much better one kind is on average than another, and the standard error over their networks."""
    every = list(runs)
    for batch, metric in product(sorted({run.batch for run in every}), METRICS):
        means = []
        for one in (kind, against):
            own = [run for run in every if (run.kind, run.batch) == (one, batch)]
            names = dict.fromkeys(run.name for run in own)
            means.append([np.mean([getattr(run, metric) for run in own if run.name == name]) for name in names])
        if min(map(len, means)) > 1:
            error = sum(np.var(values, ddof=1) / len(values) for values in means) ** 0.5
            by = float(np.mean(means[0]) - np.mean(means[1]))
            what = {"kind": kind, "against": against, "batch": batch, "metric": metric}
            yield {**what, "difference": round(by, 4), "standard_error": round(float(error), 4)}


def agreement(runs: Iterable[Run]) -> Iterator[dict[str, object]]:
    """Does the loss that chooses without labels order networks of cells as their accuracy does? Spearman's rho."""
    every = [run for run in runs if run.kind != RESNET18]
    for batch in sorted({run.batch for run in every}):
        own = [run for run in every if run.batch == batch]
        names = dict.fromkeys(run.name for run in own)
        if len(names) > 2:
            loss, linear = (
                np.array([np.mean([getattr(run, what) for run in own if run.name == name]) for name in names])
                for what in ("held_out_loss", "linear")
            )
            rho = round(float(spearmanr(-loss, linear).statistic), 3)
            yield {"batch": batch, "networks": len(names), "spearman of lower loss and higher accuracy": rho}


def mean_and_std(values: list[float]) -> list[float]:
    return [round(float(np.mean(values)), 4), round(float(np.std(values, ddof=int(len(values) > 1))), 4)]


def settings_of(args: argparse.Namespace) -> dict[str, object]:
    """What a run depends on; paths and the number of processes are not."""
    names = ("cells", "channels", "resolution", "resnet_width", "random_seed", "epochs", "semi_epochs", "lr", "limit")
    cells = {str(path): to_document(read_genotype(path)) for path in (*args.searched, *args.supervised)}
    sets = {"train": args.train.name, "test": args.test.name}
    return {**{name: getattr(args, name) for name in names}, **sets, "device": args.device, "genotypes": cells}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--searched", type=Path, nargs="*", default=[])
    parser.add_argument("--supervised", type=Path, nargs="*", default=[])
    parser.add_argument("--random", type=int, default=4)
    parser.add_argument("--random-seed", type=int, default=0)
    parser.add_argument("--resnet-width", type=int, default=64 if ON_GPU else 16, help="0 leaves it out")
    parser.add_argument("--cells", type=int, default=8 if ON_GPU else 5)
    parser.add_argument("--channels", type=int, default=16 if ON_GPU else 8)
    parser.add_argument("--resolution", type=int, default=32 if ON_GPU else 16)
    parser.add_argument("--batch", type=int, action="append", help="32 and 64")
    parser.add_argument("--epochs", type=float, default=100 if ON_GPU else 10)
    parser.add_argument("--semi-epochs", type=int, default=50 if ON_GPU else 20)
    parser.add_argument("--lr", type=float, default=0.025)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--limit", type=int, default=None if ON_GPU else 1000, help="images of each folder at most")
    parser.add_argument("--device", default="cuda" if ON_GPU else "cpu")
    parser.add_argument("--workers", type=int, default=1 if ON_GPU else os.cpu_count() or 1)
    parser.add_argument("--threads", type=int, default=1, help="of each worker, on a CPU")
    parser.add_argument("--out", type=Path, required=True, help="a line of JSON a run; goes on where it stopped")
    return parser.parse_args()


def main() -> None:
    args = parsed()
    networks = list(builders(args))
    wanted = [
        Task(kind=kind, name=name, batch=batch, seed=seed)
        for seed, batch, (kind, name) in product(range(args.seeds), args.batch or [32, 64], networks)
    ]
    runs = read_runs(args.out, settings_of(args), Run)
    done = {tuple(getattr(run, f.name) for f in fields(Task)) for run in runs}
    left = [task for task in wanted if tuple(vars(task).values()) not in done]
    print(f"{len(done)} runs done, {len(left)} to do, {args.workers} at a time", flush=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.workers, mp_context=context, initializer=begin, initargs=(args,)) as pool:
        for future in as_completed([pool.submit(do, task) for task in left]):
            runs.append(future.result())
            add_run(args.out, runs[-1])
    for line in (*summary(runs), *differences(runs), *agreement(runs)):
        print(json.dumps(line))


if __name__ == "__main__":
    main()
