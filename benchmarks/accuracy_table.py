"""What does each choice of a supernet add to the accuracy of its networks? The accuracy table that a search takes.

    python benchmarks/accuracy_table.py --sets DIR --domain gtsrb --domain rsscn7 ... --limit 3000 --out RUNS.jsonl
    python benchmarks/accuracy_table.py --report --out RUNS.jsonl [--keep]

--networks (48) networks of --supernet, a name or a folder, are drawn from all sizes and judged on labelled sets, laid
out as truth.py says: a ridge classifier on frozen features at --resolution (64) px, of images that it has not seen.
Every network and domain is a line in --out, and the same command goes on where it stopped. The report fits the table,
and tells how it orders the networks of a set that it was fitted without. --keep keeps the runs, the section of
RESULTS.md and, in the supernet's folder, the points of all sets at this resolution.
"""

import argparse
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from results import RUNS, Section, Table, keep
from runs import add_run, read_runs
from truth import Floats, judged, named, read_domain, taus

from hardware_profiles.measure.processor import processor
from search.nets import NETS, Net
from search.nets.counts import count_block
from search.scores.accuracy import AccuracyTable, Learned, fit_points, save_accuracy
from search.subnets.proposals import scattered
from zoo.supernets import DEFAULT, read_supernet

PX, SEED = 64, 7


@dataclass(frozen=True, kw_only=True)
class Run:
    """One network on one domain."""

    domain: str
    choices: str
    accuracy: float


def measure(args: argparse.Namespace) -> None:
    ready = read_supernet(args.supernet)
    net, card = ready.supernet.net, ready.supernet.card
    settings = {"supernet": card.name, "net": card.net, "sha256": ready.sha256, "resolution_px": args.resolution}
    settings["limit"] = args.limit
    done = {(run.domain, run.choices) for run in read_runs(args.out, settings, Run)}
    rng = np.random.default_rng(SEED)
    rows = scattered(net, rng)
    architectures = net.decode(rows[rng.permutation(len(rows))[: args.networks]], args.resolution)
    domains = [read_domain(args.sets / name, args.resolution, args.limit) for name in args.domain]
    for architecture in architectures:
        choices = " ".join(map(str, architecture.choices))
        for domain in domains:
            if (domain.name, choices) not in done:
                accuracy = judged(ready.supernet.subnet(architecture), card, domain, args.resolution)
                add_run(args.out, Run(domain=domain.name, choices=choices, accuracy=round(accuracy, 5)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """Accuracies of D sets and N networks, in percent; ``rows`` [N, l] are the networks."""

    net: Net
    sha256: str
    resolution_px: int
    limit: int | None
    sets: list[str]
    rows: NDArray[np.int64]
    accuracy: Floats

    def learned(self, *, without: str | None = None) -> Learned:
        """Of all sets but one."""
        own = [i for i, name in enumerate(self.sets) if name != without]
        return Learned(
            resolution_px=self.resolution_px,
            points=fit_points(self.net, self.rows, self.accuracy[own]),
            sets=tuple(self.sets[i] for i in own),
            networks=len(self.rows),
        )


def read_judged(path: Path) -> Judged:
    """The networks of ``path`` that were judged on all its sets."""
    first, *lines = path.read_text("utf-8").splitlines()
    settings = json.loads(first)
    net = NETS[settings["net"]]
    runs = [Run(**json.loads(line)) for line in lines]
    of = {(run.domain, run.choices): 100 * run.accuracy for run in runs}
    sets = list(dict.fromkeys(run.domain for run in runs))
    choices = [c for c in dict.fromkeys(run.choices for run in runs) if all((name, c) in of for name in sets)]
    return Judged(
        net=net,
        sha256=settings["sha256"],
        resolution_px=settings["resolution_px"],
        limit=settings["limit"],
        sets=sets,
        rows=net.encode([named(net, c, PX) for c in choices]),
        accuracy=np.array([[of[name, c] for c in choices] for name in sets]),
    )


def kept_runs(supernet: str, px: int) -> Path:
    return RUNS / f"accuracy_table_{supernet}_{px}px.jsonl"


def table_without(supernet: str, sha256: str, name: str) -> AccuracyTable | None:
    """The table of the kept runs but those on the set ``name``; None where none are kept of these weights."""
    path = kept_runs(supernet, PX)
    if not path.exists():
        return None
    judged = read_judged(path)
    if judged.sha256 != sha256:
        return None
    return AccuracyTable(supernet_sha256=sha256, learned=(judged.learned(without=name),))


def report(out: Path, supernet: str, *, kept: bool) -> None:
    ready = read_supernet(supernet)
    judged = read_judged(out)
    if judged.sha256 != ready.sha256:
        raise SystemExit(f"{out} is of other weights than those of {supernet}; name the supernet that it is of")
    net = judged.net
    blocks = (net.ops(architecture) for architecture in net.decode(judged.rows, judged.resolution_px))
    macs = np.array([float(sum(count_block(key).macs for key in ops)) for ops in blocks])
    table, everyone = judged.learned(), np.arange(len(judged.rows))[None]
    learned = np.stack([judged.learned(without=name)(judged.rows) for name in judged.sets])
    tau = taus(learned, judged.accuracy, everyone)[0]
    beside = taus(np.tile(macs, (len(judged.sets), 1)), judged.accuracy, everyone)[0]
    tables = [
        Table(
            caption="Points that each option adds to the first one, from the smallest to the largest",
            columns=["choice", "options", "points"],
            rows=[
                [c.name, ", ".join(map(str, c.options)), ", ".join(f"{p:+.2f}" for p in table.points[c.name])]
                for c in net.space
            ],
        ),
        Table(
            caption="The same networks on a set that the table was fitted without",
            columns=["set", "accuracy, %", "tau-b", "of MACs"],
            rows=[
                [name, f"{of.min():.1f}-{of.max():.1f}", f"{tau[d]:+.2f}", f"{beside[d]:+.2f}"]
                for d, (name, of) in enumerate(zip(judged.sets, judged.accuracy, strict=True))
            ],
        ),
    ]
    for one in tables:
        print(one.caption, *(" | ".join(str(cell) for cell in row) for row in (one.columns, *one.rows)), sep="\n")
    if not kept:
        return
    path = kept_runs(ready.supernet.card.name, judged.resolution_px)
    if out.resolve() != path.resolve():
        shutil.copyfile(out, path)
    known = ready.supernet.accuracy.learned if ready.supernet.accuracy is not None else ()
    others = [one for one in known if one.resolution_px != judged.resolution_px]
    learned = tuple(sorted([*others, table], key=lambda one: one.resolution_px))
    save_accuracy(AccuracyTable(supernet_sha256=ready.sha256, learned=learned), ready.folder)
    about = f"--supernet SUPERNET --resolution {judged.resolution_px} --networks {len(judged.rows)}"
    sets = " ".join(f"--domain {name}" for name in judged.sets)
    keep(
        path.stem,
        Section(
            title=f"What do the choices of `{ready.supernet.card.name}` add to accuracy at {judged.resolution_px} px?",
            order=53,
            command=f"python benchmarks/accuracy_table.py {about} --sets DIR {sets} --limit {judged.limit}"
            " --out RUNS.jsonl\n"
            "python benchmarks/accuracy_table.py --report --supernet SUPERNET --out RUNS.jsonl --keep",
            machine=f"{processor()}, ONNX Runtime for the features, 1 thread, fp32",
            date=time.strftime("%Y-%m-%d"),
            text=TEXT.format(count=len(judged.rows), sets=len(judged.sets), px=judged.resolution_px),
            tables=tables,
        ),
    )


TEXT = """{count} networks of all sizes on {sets} labelled sets, at {px} px, by a ridge classifier on frozen features.
The table is a ridge regression on the logarithms of what is chosen, each set brought to the same spread; `zoo search`
takes the network of most points within its budget (`cls` only)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=Path)
    parser.add_argument("--domain", action="append")
    parser.add_argument("--limit", type=int, help="images of a domain")
    parser.add_argument("--supernet", default=DEFAULT)
    parser.add_argument("--networks", type=int, default=48)
    parser.add_argument("--resolution", type=int, default=PX)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.report:
        report(args.out, args.supernet, kept=args.keep)
    else:
        measure(args)


if __name__ == "__main__":
    main()
