"""Whole models on labelled data: the zoo's weights against fresh ones and against torchvision's nets of other makes.

    python benchmarks/downstream.py --data DIR --task det --size-px 160 --minutes 5 --runs runs.jsonl
    python benchmarks/downstream.py --runs runs.jsonl --table

DIR is what ``zoo finetune --data`` takes. Every run is trained by ``zoo.make.finetune`` with the same recipe and the
same minutes, and kept as a line of JSON; what is there already is not run again. ``--share`` takes 1 %, 10 % ... of the
training images.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from search.labels.read import Split, cut, read_split
from search.nets import NETS, Backbone
from search.supernet import Supernet
from search.types import Architecture, Task
from zoo.make.finetune import Recipe, finetune_backbone
from zoo.supernets import read_supernet
from zoo.types import ModelCard, no_progress
from zoo.use.subject import find_exportable

NET = "mobile-photo"
# A small one, so that two cores train it in minutes: every layer is used, with kernel 3 and expansion 1.
CHOICES = ("k3_e1",) * 22


def start_of(start: str, supernet: str, size_px: int, seed: int) -> tuple[Backbone, ModelCard]:
    architecture = Architecture(net=NET, choices=CHOICES, resolution_px=size_px)
    ready = read_supernet(supernet)
    card = find_exportable(supernet, architecture="smallest", say=print, progress=no_progress).card
    card = replace(card, architecture=architecture)
    if start == "zoo":
        photo = Supernet(card=replace(ready.supernet.card, net=NET), weights=ready.supernet.weights)
        return photo.subnet(architecture), card
    torch.manual_seed(seed)
    return NETS[NET].build(architecture), card


def fewer(split: Split, share: float, seed: int) -> Split:
    return split if share >= 1 else replace(split, train=cut(split.train, share, seed).val)


def run(args: argparse.Namespace, start: str, seed: int) -> dict[str, object]:
    split = fewer(read_split(args.data, Task(args.task), seed=seed), args.share, seed)
    backbone, card = start_of(start, args.supernet, args.size_px, seed)
    recipe = Recipe(epochs=args.epochs, max_minutes=args.minutes, seed=seed, patience=args.epochs)
    if start == "fresh":  # nothing in the first layers is worth keeping
        recipe = replace(recipe, first_layers=1.0)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        found = finetune_backbone(
            backbone,
            card,
            split,
            Path(scratch) / "model",
            data=args.data.name,
            size_px=args.size_px,
            recipe=recipe,
            progress=no_progress,
            say=print,
        )
    report = found.card.reports[0]
    return {
        **key_of(args, start, seed),
        "scores": dict(found.scores),
        "onnx_scores": dict(found.onnx_scores),
        "epochs": found.epochs,
        "train_images": found.train_images,
        "val_images": found.val_images,
        "onnx_ms": None if report.measured is None else report.measured.median_ms,
        "minutes": round((time.monotonic() - begun) / 60, 2),
        "torch_threads": torch.get_num_threads(),
    }


def key_of(args: argparse.Namespace, start: str, seed: int) -> dict[str, object]:
    return {
        "data": args.data.name,
        "task": args.task,
        "size_px": args.size_px,
        "share": args.share,
        "limit_minutes": args.minutes,
        "start": f"{args.supernet} as {NET}" if start == "zoo" else f"fresh {NET}",
        "seed": seed,
    }


def read_runs(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def table(runs: list[dict[str, object]]) -> str:
    groups = defaultdict(list)
    for one in runs:
        groups[tuple(one[part] for part in ("data", "task", "size_px", "share", "limit_minutes", "start"))].append(one)
    lines = [
        "| data | task | px | share | minutes | weights | seeds | scores, mean +- deviation | ONNX differs by | ms |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (data, task, size_px, share, minutes, start), rows in sorted(groups.items(), key=str):
        scores = [
            f"{name} {100 * np.mean(values):.1f} +- {100 * np.std(values):.1f}"
            for name in rows[0]["scores"]
            for values in [[row["scores"][name] for row in rows]]
        ]
        apart = max(abs(row["scores"][name] - row["onnx_scores"][name]) for row in rows for name in row["scores"])
        ms = np.mean([row["onnx_ms"] for row in rows if row["onnx_ms"] is not None])
        lines.append(
            f"| {data} | {task} | {size_px} | {100 * share:g} % | {minutes:g} | {start} | {len(rows)} |"
            f" {', '.join(scores)} | {100 * apart:.2f} points | {ms:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--task", choices=[str(task) for task in Task], default="det")
    parser.add_argument("--size-px", type=int, default=160)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--supernet", default="mobile-mocov2")
    parser.add_argument("--starts", nargs="+", choices=("zoo", "fresh"), default=["zoo", "fresh"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    if not args.table:
        for seed in args.seeds:
            for start in args.starts:
                key = key_of(args, start, seed)
                if any(key.items() <= one.items() for one in read_runs(args.runs)):
                    continue
                done = run(args, start, seed)
                with args.runs.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(done) + "\n")
    print(table(read_runs(args.runs)))


if __name__ == "__main__":
    main()
