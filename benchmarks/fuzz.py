"""Strangers' packages, tables, cards and CSVs, drawn at random: does a command break, hang or fill memory?

python benchmarks/fuzz.py [--cases 10000] [--out fuzz.jsonl] [--keep]

Stopped and started again, it goes on after the last hundred cases that it kept.
"""

import argparse
import json
import resource
import signal
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from runs import add_run, read_runs

from hardware_profiles.measure.processor import processor

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests.zoo.attacks import ATTACKS, Bases, Outcome, attack, make_bases, shortened  # noqa: E402

KEPT = ROOT / "benchmarks" / "runs" / "fuzz.json"
MOST_SECONDS, MOST_BYTES = 10.0, 1.5e9
# By the clock, for what waits for ever.
MOST_WAIT_S = 300
CHUNK = 100


def peak_bytes() -> int:
    """Of this process, or of the largest of its children."""
    return 1024 * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some cases of a kind, drawn from a seed of their own.

    Args:
        faults: what commands did wrong, and how often.
        slowest_s: of a processor, for one command.
        peak_bytes: of the process until then, or of its largest child.
    """

    kind: str
    seed: int
    cases: int
    commands: int
    faults: dict[str, int]
    slowest_s: float
    peak_bytes: int


def run_chunk(kind: str, cases: int, bases: Bases, number: int) -> Chunk:
    """What the commands did in so many cases of a kind; a fault is told at once, and the rest goes on."""
    found: list[Outcome] = []

    @seed(number)
    @settings(max_examples=cases, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def each(data: st.DataObject) -> None:
        signal.alarm(MOST_WAIT_S)
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            outcomes = attack(kind, data.draw, bases, Path(folder))
        for one in outcomes:
            if one.fault or one.seconds > MOST_SECONDS or peak_bytes() > MOST_BYTES:
                print(f"{kind}: {one.words}: {one.seconds:.1f} s, {peak_bytes() / 1e9:.2f} GB: {one.fault}", flush=True)
        found.extend(outcomes)

    each()
    return Chunk(
        kind=kind,
        seed=number,
        cases=cases,
        commands=len(found),
        faults=dict(Counter(shortened(one.fault) for one in found if one.fault)),
        slowest_s=round(max(one.seconds for one in found), 2),
        peak_bytes=peak_bytes(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="in all; the kinds share them")
    parser.add_argument("--out", type=Path, default=Path("fuzz.jsonl"), help="where the chunks are kept")
    parser.add_argument("--keep", action="store_true", help=f"write {KEPT}")
    asked = parser.parse_args()
    done = read_runs(asked.out, {"cases": asked.cases}, Chunk)
    known = {(one.kind, one.seed) for one in done}
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        bases = make_bases(Path(folder))
        for number in range(-(-asked.cases // (len(ATTACKS) * CHUNK))):
            for kind in ATTACKS:
                if (kind, number) not in known:
                    done.append(run_chunk(kind, CHUNK, bases, number))
                    add_run(asked.out, done[-1])
    if asked.keep:
        KEPT.write_text(json.dumps(_document(done), indent=1) + "\n", "utf-8")
    slow = any(one.slowest_s > MOST_SECONDS or one.peak_bytes > MOST_BYTES for one in done)
    sys.exit(1 if slow or any(one.faults for one in done) else 0)


def _row(kind: str, chunks: list[Chunk]) -> list[object]:
    cases, commands = sum(one.cases for one in chunks), sum(one.commands for one in chunks)
    faults = sum(sum(one.faults.values()) for one in chunks)
    slowest, peak = max(one.slowest_s for one in chunks), max(one.peak_bytes for one in chunks)
    return [kind, cases, commands, faults, f"{slowest:.1f}", f"{peak / 1e9:.2f}"]


def _document(chunks: list[Chunk]) -> dict[str, object]:
    rows = [_row(kind, [one for one in chunks if one.kind == kind]) for kind in ATTACKS]
    return {
        "title": "Strangers' files",
        "order": 90,
        "command": f"python benchmarks/fuzz.py --cases {sum(one.cases for one in chunks)} --keep",
        "machine": f"{processor()}, ONNX Runtime 1.31.1, 1 thread, beside other work",
        "date": f"{date.today():%Y-%m-%d}",
        "text": "Packages, latency tables, supernets' cards and CSVs with values, keys, bytes and files changed at"
        " random, most packages sealed anew as their author would, and the commands that read such. A fault is a"
        " traceback, more or less than one line of error, or a control character on the screen. Seconds are of a"
        " processor. Memory is the peak of the process that runs all commands, torch included, or of a child of it that"
        " ran a graph. Found this way, and mended: lists nested thousands deep, infinite sizes and sizes of 400 digits,"
        " truth values in place of numbers, evidence that compares nothing; a hundred with a fault was then run again.",
        "tables": [
            {
                "caption": "",
                "columns": ["kind", "cases", "commands", "faults", "slowest command, core-s", "peak memory so far, GB"],
                "rows": rows,
            }
        ],
    }


if __name__ == "__main__":
    main()
