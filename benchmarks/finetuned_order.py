"""Do networks of equal milliseconds keep their order when they are fine-tuned, and does the score foretell it?

    python benchmarks/finetuned_order.py --sets DIR --domain gtsrb --domain rsscn7 --domain flowers --out RUNS.jsonl
    python benchmarks/finetuned_order.py --report --out RUNS.jsonl [--keep]

Of the networks of --supernet that score_quality.py kept, 12 spread evenly over the order of its default score are
fine-tuned on ``DIR/NAME/train`` by the recipe of `zoo finetune` at 64 px, on --images images, with two seeds, and
judged on ``test``. Every training is a line in --out, and the same command goes on where it stopped. The report: tau-b
of the fine-tuned accuracies with those of the linear classifier, with the score, and between the two seeds, which is as
much as the truth can be ordered at all; and what the better half by score gains over the other.
"""

import argparse
import json
import shutil
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from results import RUNS, Section, Table, keep
from runs import add_run, read_runs
from score_quality import LARGEST, Evidence, gather
from score_quality import Run as Judged
from truth import named, tuned

from hardware_profiles.measure.processor import processor
from search.labels.read import read_split
from search.scores import LEARNED, SCORES
from search.types import Task
from zoo.supernets import DEFAULT, read_supernet

PX, NETWORKS, SEEDS = 64, 12, (0, 1)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A fine-tuning: which network of those that score_quality.py kept, where, and its accuracy on ``test``."""

    domain: str
    network: int
    seed: int
    accuracy: float
    minutes: float


def kept_runs(supernet: str) -> Path:
    return RUNS / f"score_quality_cls_{supernet}.jsonl"


def score_of(evidence: Evidence) -> str:
    """The one that a search among these networks takes."""
    return LEARNED if LEARNED in evidence.scores else SCORES[Task.CLS]


def chosen(evidence: Evidence, domain: str, score: str) -> list[int]:
    """Networks spread evenly over the order of the score."""
    order = np.argsort(evidence.scores[score][evidence.domains.index(domain)])
    return [int(order[i]) for i in np.linspace(0, len(order) - 1, NETWORKS).round().astype(int)]


def measure(args: argparse.Namespace) -> None:
    kept = kept_runs(args.supernet)
    evidence = gather(kept)
    lines = [Judged(**json.loads(line)) for line in kept.read_text("utf-8").splitlines()[1:]]
    choices = {line.network: line.choices for line in lines if line.network > LARGEST}
    score, supernet = score_of(evidence), read_supernet(args.supernet).supernet
    settings = {"supernet": args.supernet, "score": score, "images": args.images, "px": PX}
    done = {(run.domain, run.network, run.seed) for run in read_runs(args.out, settings, Run)}
    for domain in args.domain:
        split = read_split(args.sets / domain, Task.CLS, seed=0)
        for seed, network in product(SEEDS, chosen(evidence, domain, score)):
            if (domain, network, seed) in done:
                continue
            started = time.monotonic()
            backbone = supernet.subnet(named(supernet.net, choices[network], PX))
            accuracy = tuned(backbone, supernet.card, split, args.images, PX, seed)
            minutes = round((time.monotonic() - started) / 60, 2)
            add_run(
                args.out, Run(domain=domain, network=network, seed=seed, accuracy=round(accuracy, 5), minutes=minutes)
            )


def report(out: Path, *, kept: bool) -> None:
    from scipy.stats import kendalltau

    first, *lines = out.read_text("utf-8").splitlines()
    settings, runs = json.loads(first), [Run(**json.loads(line)) for line in lines]
    evidence = gather(kept_runs(settings["supernet"]))
    score_name = settings["score"]
    rows: list[list[str | int | float | None]] = []
    for domain in dict.fromkeys(run.domain for run in runs):
        d, networks = evidence.domains.index(domain), chosen(evidence, domain, score_name)
        of = {(run.network, run.seed): 100 * run.accuracy for run in runs if run.domain == domain}
        if not all((n, seed) in of for n in networks for seed in SEEDS):
            continue
        seeds = np.array([[of[n, seed] for n in networks] for seed in SEEDS])
        tuned, linear, score = seeds.mean(0), evidence.truth[d][networks], evidence.scores[score_name][d][networks]
        half = len(networks) // 2
        rows.append(
            [
                domain,
                len(networks),
                f"{tuned.min():.1f}-{tuned.max():.1f}",
                *(
                    f"{kendalltau(x, y).statistic:+.2f}"
                    for x, y in ((seeds[0], seeds[1]), (tuned, linear), (tuned, score))
                ),
                f"{tuned[half:].mean() - tuned[:half].mean():+.1f}",
            ]
        )
    columns = ["domain", "networks", "fine-tuned, %", "tau-b of two seeds", "with linear", "with the score"]
    table = Table(caption="", columns=[*columns, "better half by score, points"], rows=rows)
    print(*(" | ".join(str(cell) for cell in row) for row in (table.columns, *table.rows)), sep="\n")
    if not kept:
        return
    name = f"finetuned_order_{settings['supernet']}"
    if out.resolve() != (RUNS / f"{name}.jsonl").resolve():
        shutil.copyfile(out, RUNS / f"{name}.jsonl")
    domains = " ".join(f"--domain {row[0]}" for row in rows)
    keep(
        name,
        Section(
            title=f"Do networks of `{settings['supernet']}` of equal milliseconds keep their order when fine-tuned?",
            order=56,
            command=f"python benchmarks/finetuned_order.py --sets DIR {domains} --supernet {settings['supernet']}"
            " --out RUNS.jsonl\n"
            "python benchmarks/finetuned_order.py --report --out RUNS.jsonl --keep",
            machine=f"{processor()}, torch, 1 thread, fp32, 64 px, busy",
            date=time.strftime("%Y-%m-%d"),
            text=TEXT.format(score=score_name, images=settings["images"]),
            tables=[table],
        ),
    )


TEXT = """12 of the 48 networks whose embeddings are judged above, from low to high score ({score}), fine-tuned on
{images:,} images with each of two seeds. Twelve networks within a point or two of each other say little: tau-b of two
independent orders of 12 lies within .43 of 0 in 95 of 100 cases."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=Path)
    parser.add_argument("--domain", action="append")
    parser.add_argument("--supernet", default=DEFAULT)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.report:
        report(args.out, kept=args.keep)
    else:
        measure(args)


if __name__ == "__main__":
    main()
