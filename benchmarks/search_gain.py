"""What does a search gain? Its networks against random, the largest and handcrafted ones of equal milliseconds.

    python benchmarks/search_gain.py train --images DIR --supernet SUPERNET --work FOLDER
    python benchmarks/search_gain.py judge --sets DIR --domain rsscn7 --domain gtsrb ... --limit 3000 --work FOLDER
    python benchmarks/search_gain.py judge --finetune 3000 --sets DIR --domain rsscn7 ... --work ANOTHER-FOLDER
    python benchmarks/search_gain.py report [--work FOLDER] [--keep]

``train`` trains the handcrafted networks, MobileNetV2 and ResNet-18 of several widths, each alone and from fresh
weights, by the recipe of SUPERNET, a name or a folder, its outside teacher's too where it has one, and on as many
images of DIR. Without it there are none. ``judge``, which takes --supernet, too, measures this machine's table at 64
px, and for each domain and budget searches with the default score on the domain's unlabelled images (64 networks with
two seeds, 256, 1,000; 30 times as many where the score is an accuracy table, which is then one without the domain's own
labels), takes the largest that fits by multiply-accumulates, and draws 8 random networks of the band just below the
budget. Domains and truth, a ridge classifier on frozen features, are those of truth.py; statistics of all networks are
recalibrated on the same 256 images. With --finetune the truth is another: what the default search finds with two seeds,
4 random networks and the others are trained with a head on that many images of ``train`` and judged on ``test``. All
networks are timed in turns at the end. Every network and domain is a line in FOLDER, and the same command goes on where
it stopped.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accuracy_table import table_without
from results import RUNS, Section, Table, keep
from runs import add_run, read_runs
from truth import BOOTSTRAPS, Domain, Floats, judged, named, read_domain, tuned

from hardware_profiles import LatencyTable, OnnxRunner, load_table, save_table
from hardware_profiles.measure.models import to_onnx_bytes
from hardware_profiles.measure.processor import processor
from hardware_profiles.timing.timing import time_runners
from search.images.feed import feed
from search.labels.read import read_split
from search.nets import HANDCRAFTED, Backbone, Net
from search.nets.handcrafted import Handcrafted, MobileShape, ResNetShape
from search.oneshot.pretrain import pretrain
from search.recipes import read_recipe
from search.running import Running
from search.scores import SIZE, criterion_for
from search.scores.evidence import EVIDENCE
from search.subnets.costs import CostModel
from search.subnets.evolution import find
from search.subnets.proposals import scattered
from search.supernet import Supernet
from search.teachers import outside
from search.types import Architecture, Budget, Task
from zoo.devices.this_machine import measure_here
from zoo.home import home_folder
from zoo.plots import new_figure, save_figure
from zoo.supernets import DEFAULT, read_supernet

PX = 64
BUDGETS_MS = (0.33, 0.76, 1.0)
RANDOM, BAND = 8, 0.05
TUNED = 4  # random networks that are fine-tuned
SEARCHES = ((64, 0), (64, 1), (256, 0), (1000, 0))  # networks scored, seed
BEST = "searched, 64"  # by the defaults
# Those of about a budget's milliseconds; widths relative to the published ones.
BY_HAND = {
    "ResNet-18 1/2": 1.0,
    "MobileNetV2 1": 0.76,
    "ResNet-18 1/4": 0.33,
    "MobileNetV2 0.5": 0.33,
}
SHAPES: dict[str, tuple[ResNetShape | MobileShape, int]] = {
    "MobileNetV2 0.5": (MobileShape(width=0.5), 1),
    "MobileNetV2 1": (MobileShape(), 1),
    "ResNet-18 1/2": (ResNetShape(depths=(2, 2, 2, 2), block="basic"), 2),
    "ResNet-18 1/4": (ResNetShape(depths=(2, 2, 2, 2), block="basic"), 4),
}


class Strided(Handcrafted):
    """At 64 px with the strides of 224 px, as the supernet has them."""

    def values(self, architecture: Architecture) -> dict[str, int]:
        return {**super().values(architecture), "small": 0}


NET = Strided("handcrafted-strided", {name: shape for name, (shape, _) in SHAPES.items()})
HANDCRAFTED[NET.name] = NET


@dataclass(frozen=True, kw_only=True)
class Run:
    """One network on one domain, by how it was found; ``seconds`` of its search."""

    domain: str
    budget_ms: float
    found_by: str
    seed: int
    choices: str
    accuracy: float
    seconds: float


def by_hand(name: str) -> Architecture:
    return NET.architecture(name, width_divisor=SHAPES[name][1], resolution_px=PX)


def train(images: Path, supernet: str, work: Path) -> None:
    card = read_supernet(supernet).supernet.card
    recipe = read_recipe(card.recipe)
    steps = card.images_seen // recipe.batch
    # As `zoo pretrain` reads them, so that an outside teacher's features of them are found again.
    pixels = feed(images, size_px=2 * PX, crop_px=PX, folder=home_folder("images")).pixels
    teacher = None
    if recipe.teacher is not None:
        teacher = outside(recipe.teacher, pixels, home_folder("features"), sees=recipe.teacher_sees, say=print)
    for name in BY_HAND:
        file = work / f"{slug(name)}.pt"
        if file.exists():
            continue
        epochs = (steps + 0.5) / (len(pixels) // recipe.batch)
        own = replace(recipe, net=NET.name, architecture=by_hand(name).choices, epochs=epochs)
        started = time.perf_counter()
        made = pretrain(
            own,
            pixels,
            work / slug(name),
            name=slug(name),
            data={},
            outside=teacher,
            running=Running(checkpoint_steps=200),
            resume=True,
        )
        weights = made.subnet(by_hand(name)).state_dict()
        torch.save({"weights": weights, "seconds": time.perf_counter() - started, "steps": steps}, file)
        print(name, f"{time.perf_counter() - started:.0f} s", flush=True)


def slug(name: str) -> str:
    return name.lower().replace(" ", "-").replace("/", "of")


def judge(args: argparse.Namespace) -> None:
    ready = read_supernet(args.supernet)
    file = args.work / "table.yaml"
    if not file.exists():
        save_table(measure_here(ready.supernet.net.name, PX, threads=1, classes=(), validate_on=96), file)
    table = load_table(file)
    card = ready.supernet.card
    settings = {
        "supernet": card.name,
        "sha256": ready.sha256,
        "images": card.images_seen,
        "score": criterion_for(Task.CLS, ready.supernet.accuracy),
        "limit": args.limit,
        "finetune": args.finetune,
        "budgets_ms": list(BUDGETS_MS),
        "table": table.device.id,
    }
    out = args.work / "runs.jsonl"
    done = {(r.domain, r.budget_ms, r.found_by, r.seed) for r in read_runs(out, settings, Run)}
    for name in args.domain:
        domain: Domain | None = None
        supernet = ready.supernet
        if supernet.accuracy is not None:  # a set is not judged by what was learned from it
            supernet = replace(supernet, accuracy=table_without(card.name, ready.sha256, name))
        accuracy: dict[tuple[str, int], float] = {}
        split = None if args.finetune is None else read_split(args.sets / name, Task.CLS, seed=0)
        for budget_ms, found_by, seed in contenders():
            if split is not None and (seed >= TUNED or scored(found_by) > 64):
                continue
            absent = found_by in BY_HAND and not (args.work / f"{slug(found_by)}.pt").exists()
            if absent or (name, budget_ms, found_by, seed) in done or scored(found_by) > args.most:
                continue
            domain = domain or read_domain(args.sets / name, PX, args.limit)
            choices, seconds = look_for(supernet, table, domain, budget_ms, found_by, seed)
            # Frozen features know no seed; fine-tuning is another one each time.
            key = choices, 0 if split is None else seed
            if key not in accuracy:
                backbone = backbone_of(ready.supernet, choices, args.work)
                accuracy[key] = (
                    judged(backbone, card, domain, PX)
                    if split is None
                    else tuned(backbone, card, split, args.finetune, PX, seed)
                )
            run = Run(
                domain=name,
                budget_ms=budget_ms,
                found_by=found_by,
                seed=seed,
                choices=choices,
                accuracy=round(accuracy[key], 5),
                seconds=round(seconds, 2),
            )
            add_run(out, run)
    times(ready.supernet, args.work)


def contenders() -> Iterator[tuple[float, str, int]]:
    """Budget, how a network is found, and seed."""
    for budget_ms in BUDGETS_MS:
        yield from ((budget_ms, "random", seed) for seed in range(RANDOM))
        yield budget_ms, "largest", 0
        yield from ((budget_ms, f"searched, {count}", seed) for count, seed in SEARCHES)
        yield from ((budget_ms, name, 0) for name, near in BY_HAND.items() if near == budget_ms)


def look_for(
    supernet: Supernet, table: LatencyTable, domain: Domain, budget_ms: float, found_by: str, seed: int
) -> tuple[str, float]:
    """The choices of the network, and how long it took."""
    if found_by in BY_HAND:
        return found_by, 0.0
    started = time.perf_counter()
    if found_by == "random":
        chosen = drawn(supernet.net, table, budget_ms)[seed]
    else:
        how: dict[str, Any] = {"criterion": SIZE} if found_by == "largest" else {}
        count = scored(found_by) or 64
        unlabelled = domain.pixels[: domain.train]
        budget = Budget(latency_ms=budget_ms)
        found = find(supernet, table, unlabelled, budget, evaluations=count, seed=seed, **how)
        chosen = found.best.architecture
    return " ".join(map(str, chosen.choices)), time.perf_counter() - started


def scored(found_by: str) -> int:
    """Networks that a search scores; 0 of what is no search."""
    return int(found_by.split(", ")[1]) if found_by.startswith("searched") else 0


def drawn(net: Net, table: LatencyTable, budget_ms: float) -> list[Architecture]:
    """Random networks of the band, the same for every domain."""
    rng = np.random.default_rng(0)
    rows = scattered(net, rng)
    ms = CostModel(net, table)(rows).predicted_ms
    rows = np.unique(rows[(ms <= budget_ms) & (ms > (1 - BAND) * budget_ms)], axis=0)
    return net.decode(rows[rng.permutation(len(rows))[:RANDOM]], PX)


def backbone_of(supernet: Supernet, choices: str, work: Path) -> Backbone:
    """With its trained weights."""
    if choices in BY_HAND:
        backbone = NET.build(by_hand(choices))
        backbone.load_state_dict(torch.load(work / f"{slug(choices)}.pt", weights_only=True)["weights"])
        return backbone
    return supernet.subnet(named(supernet.net, choices, PX))


def times(supernet: Supernet, work: Path) -> None:
    """Milliseconds of every network of the runs, in turns."""
    lines = (work / "runs.jsonl").read_text("utf-8").splitlines()[1:]
    networks = list(dict.fromkeys(json.loads(line)["choices"] for line in lines))
    x = {"input": np.random.default_rng(0).standard_normal((1, 3, PX, PX), dtype=np.float32)}
    with tempfile.TemporaryDirectory() as scratch:
        subjects = []
        for i, choices in enumerate(networks):
            path = Path(scratch) / f"{i}.onnx"
            path.write_bytes(to_onnx_bytes(backbone_of(supernet, choices, work).eval(), (1, 3, PX, PX)))
            subjects.append((lambda path=path: OnnxRunner(path, threads=1), x))
        latencies = time_runners(subjects, rounds=12, max_seconds=0.02)
    ms = {choices: round(latency.median_ms, 4) for choices, latency in zip(networks, latencies, strict=True)}
    (work / "times.json").write_text(json.dumps(ms, indent=1) + "\n", "utf-8")


def timed_runs(work: Path) -> list[str]:
    """What is kept of them: the settings, and a line a run with its milliseconds."""
    first, *lines = (work / "runs.jsonl").read_text("utf-8").splitlines()
    ms = json.loads((work / "times.json").read_text("utf-8"))
    off = load_table(work / "table.yaml").validation
    assert off is not None
    runs = (json.loads(line) for line in lines)
    return [
        json.dumps({**json.loads(first), "table_off_percent": off.mape_percent}),
        *(json.dumps({**run, "ms": ms[run["choices"]]}) for run in runs),
    ]


def report(kept_lines: list[str], *, kept: bool) -> None:
    settings, *found = (json.loads(line) for line in kept_lines)
    ms = {one["choices"]: one["ms"] for one in found}
    runs = [Run(**{name: value for name, value in one.items() if name != "ms"}) for one in found]
    domains = list(dict.fromkeys(run.domain for run in runs))
    names = list(dict.fromkeys(run.found_by for run in runs))
    of: dict[tuple[str, float, str], list[Run]] = {}
    for run in runs:
        of.setdefault((run.domain, run.budget_ms, run.found_by), []).append(run)
    rows: list[list[str | int | float | None]] = []
    gains: dict[str, Floats] = {}
    for name in names:
        places = [(d, b) for d, b in product(domains, BUDGETS_MS) if (d, b, name) in of]
        gain = np.array([mean(of[d, b, name]) - mean(of[d, b, "random"]) for d, b in places])
        gains[name] = gain
        seconds = [run.seconds for d, b in places for run in of[d, b, name]]
        by_domain = [[g for g, (d, _) in zip(gain, places, strict=True) if d == one] for one in domains]
        ratio = [ms[run.choices] / b for d, b in places for run in of[d, b, name]]
        rows.append(
            [
                name,
                len({run.choices for d, b in places for run in of[d, b, name]}),
                f"{np.median(ratio):.2f} ({min(ratio):.2f}-{max(ratio):.2f})",
                f"{np.median(seconds):.1f}" if name.startswith(("searched", "largest")) else None,
                "" if name == "random" else f"{gain.mean():+.2f} [{interval(gain)}]",
                *("" if name == "random" or not of_one else f"{np.mean(of_one):+.1f}" for of_one in by_domain),
            ]
        )
    spread = float(
        np.mean([np.std([run.accuracy for run in of[d, b, "random"]]) for d, b in product(domains, BUDGETS_MS)])
    )
    tables = [
        Table(
            caption="Accuracy less the mean of the random ones of the same budget and domain, in points",
            columns=["found by", "networks", "measured ms / budget", "search, s", "mean", *domains],
            rows=rows,
        ),
        Table(
            caption=f"Accuracy {'of frozen features' if settings.get('finetune') is None else 'after fine-tuning'}, %;"
            " random ones: mean",
            columns=["domain", "budget, ms", *names],
            rows=[
                [d, b, *(f"{mean(of[d, b, n]):.1f}" if (d, b, n) in of else "" for n in names)]
                for d, b in product(domains, BUDGETS_MS)
            ],
        ),
    ]
    if by_hand := [name for name in names if name in BY_HAND]:
        over = {n: {d: mean(of[d, BY_HAND[n], BEST]) - mean(of[d, BY_HAND[n], n]) for d in domains} for n in by_hand}
        tables.append(
            Table(
                caption="Searched less handcrafted, of the same budget, in points",
                columns=["handcrafted", "mean", *domains],
                rows=[
                    [n, f"{np.mean([*of_n.values()]):+.2f}", *(f"{g:+.1f}" for g in of_n.values())]
                    for n, of_n in over.items()
                ],
            )
        )
    for table in tables:
        print(table.caption, *(" | ".join(str(cell) for cell in row) for row in (table.columns, *table.rows)), sep="\n")
    if not kept:
        return
    images = settings.get("finetune")
    name = f"search_gain_{settings['supernet']}{'' if images is None else '_finetuned'}"
    picture = RUNS / f"{name}.svg"
    plot(of, ms, domains, picture)
    (RUNS / f"{name}.jsonl").write_text("\n".join(kept_lines) + "\n", "utf-8")
    text = (TEXT if images is None else TEXT + TUNED_TEXT).format(
        images=images,
        supernet=settings["supernet"],
        seen=settings["images"],
        score=settings["score"],
        off=settings["table_off_percent"],
        spread=100 * spread,
        picture=picture.name,
    )
    if settings["supernet"] == DEFAULT and images is None:  # what a search says of itself
        document = json.loads(EVIDENCE.read_text("utf-8"))
        gain = [float(gains[BEST].mean()), *map(float, interval(gains[BEST]).split(", "))]
        document["search"] = {"score": settings["score"], "gain_points": [round(points, 3) for points in gain]}
        EVIDENCE.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    chosen = " ".join(f"--domain {domain}" for domain in domains)
    keep(
        name,
        Section(
            title=f"What does a search in `{settings['supernet']}` gain over random, largest and handcrafted networks"
            f"{'?' if images is None else ' after fine-tuning?'}",
            order=54,
            command="python benchmarks/search_gain.py train --images DIR --supernet SUPERNET --work FOLDER\n"
            f"python benchmarks/search_gain.py judge --sets DIR {chosen} --limit 3000"
            f"{'' if images is None else f' --finetune {images}'} --supernet SUPERNET --work FOLDER\n"
            "python benchmarks/search_gain.py report --work FOLDER --keep",
            machine=f"{processor()}, ONNX Runtime, 1 thread, fp32, 64 px, busy",
            date=time.strftime("%Y-%m-%d"),
            text=text,
            tables=tables,
        ),
    )


TEXT = """Networks of `{supernet}`, trained on {seen:,} images, at 64 px within three budgets of this machine's table
({off:.1f} % off on unseen networks), searched by {score}. Random networks of one budget differ by {spread:.2f} points
(standard deviation); intervals of 95 % are by bootstrap over domains and budgets. Handcrafted networks, where there
are any, take about a budget's milliseconds and were trained alone from fresh weights, by the same recipe on as many
images.

![Accuracy against measured milliseconds](runs/{picture})"""
TUNED_TEXT = """

Every network was fine-tuned on {images:,} images by `zoo finetune`'s recipe, a search's finds and the random ones each
with another seed, and judged on the test half."""


def mean(runs: list[Run]) -> float:
    """In percent."""
    return 100 * float(np.mean([run.accuracy for run in runs]))


def interval(values: Floats) -> str:
    drawn = np.random.default_rng(0).choice(values, (BOOTSTRAPS, len(values))).mean(1)
    return "{:+.2f}, {:+.2f}".format(*np.percentile(drawn, [2.5, 97.5]))


def plot(of: dict[tuple[str, float, str], list[Run]], ms: dict[str, float], domains: list[str], path: Path) -> None:
    """A panel a domain: accuracy against measured milliseconds."""
    groups = {"random": ("random", "0.7", "."), "largest": ("largest that fits", "tab:green", "s")}
    groups |= {BEST: ("searched", "tab:blue", "o"), "MobileNetV2": ("MobileNetV2", "tab:orange", "^")}
    groups |= {"ResNet-18": ("ResNet-18", "tab:red", "v")}
    figure = new_figure(2.6 * len(domains), 2.6)
    for axis, domain in zip(figure.subplots(1, len(domains)), domains, strict=True):
        for name, (label, color, marker) in groups.items():
            runs = [r for (d, _, n), many in of.items() if d == domain and n.startswith(name) for r in many]
            axis.scatter(
                [ms[r.choices] for r in runs],
                [100 * r.accuracy for r in runs],
                s=14,
                c=color,
                marker=marker,
                label=label,
            )
        axis.set_title(domain, fontsize=8)
        axis.set_xlabel("measured ms", fontsize=7)
        axis.tick_params(labelsize=6)
    figure.axes[0].set_ylabel("accuracy, %", fontsize=7)
    figure.axes[0].legend(fontsize=5, loc="lower right")
    save_figure(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "judge", "report"))
    parser.add_argument("--images", type=Path)
    parser.add_argument("--supernet", default=DEFAULT)
    parser.add_argument("--sets", type=Path)
    parser.add_argument("--domain", action="append")
    parser.add_argument("--limit", type=int, help="images of a domain")
    parser.add_argument("--finetune", type=int, metavar="IMAGES", help="seen in each fine-tuning; without it, none")
    parser.add_argument("--most", type=int, default=SEARCHES[-1][0], help="networks that a search may score")
    parser.add_argument("--work", type=Path, help="of a report: the kept runs of --supernet unless told")
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    if args.what == "report":
        kept = RUNS / f"search_gain_{args.supernet}.jsonl"
        report(timed_runs(args.work) if args.work else kept.read_text("utf-8").splitlines(), kept=args.keep)
        return
    if args.work is None:
        parser.error("name the folder to work in, --work")
    args.work.mkdir(parents=True, exist_ok=True)
    if args.what == "train":
        train(args.images, args.supernet, args.work)
    else:
        judge(args)


if __name__ == "__main__":
    main()
