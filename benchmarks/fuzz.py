"""Strangers' packages, tables, cards and CSVs, drawn at random: does a command break, hang or fill memory?

python benchmarks/fuzz.py [--cases 10000] [--seed 0] [--keep]
"""

import argparse
import json
import resource
import signal
import sys
import tempfile
from collections import Counter
from datetime import date
from pathlib import Path

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests.zoo.attacks import ATTACKS, Bases, Outcome, attack, make_bases, shortened  # noqa: E402

KEPT = ROOT / "benchmarks" / "runs" / "fuzz.json"
MOST_SECONDS, MOST_BYTES = 10.0, 1.5e9
# By the clock, for what waits for ever.
MOST_WAIT_S = 300


def peak_bytes() -> int:
    """Of this process, or of the largest of its children."""
    return 1024 * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def run_kind(kind: str, cases: int, bases: Bases, number: int) -> list[Outcome]:
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
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="in all; the kinds share them")
    parser.add_argument("--kinds", nargs="*", default=list(ATTACKS), choices=list(ATTACKS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true", help=f"write {KEPT}")
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        bases = make_bases(Path(folder))
        for kind in asked.kinds:
            cases = asked.cases // len(asked.kinds)
            found = run_kind(kind, cases, bases, asked.seed)
            faults = Counter(shortened(one.fault) for one in found if one.fault)
            slowest = max(found, key=lambda one: one.seconds)
            rows.append(
                [kind, cases, len(found), sum(faults.values()), f"{slowest.seconds:.1f}", f"{peak_bytes() / 1e9:.2f}"]
            )
            print(json.dumps(rows[-1]), *faults.most_common(20), sep="\n", flush=True)
    if asked.keep:
        KEPT.write_text(json.dumps(_document(rows, asked), indent=1) + "\n", "utf-8")
    bad = any(row[3] for row in rows) or any(float(row[4]) > MOST_SECONDS for row in rows) or peak_bytes() > MOST_BYTES
    sys.exit(1 if bad else 0)


def _document(rows: list[list[object]], asked: argparse.Namespace) -> dict[str, object]:
    return {
        "title": "Strangers' files",
        "order": 90,
        "command": f"python benchmarks/fuzz.py --cases {asked.cases} --seed {asked.seed} --keep",
        "machine": "2 cores of an Intel Xeon (AVX-512, AMX), ONNX Runtime 1.31.1, 1 thread, beside other work",
        "date": f"{date.today():%Y-%m-%d}",
        "text": "Packages, latency tables, supernets' cards and CSVs with values, keys, bytes and files changed at"
        " random, most packages sealed anew as their author would, and the commands that read such. A fault is a"
        " traceback, more or less than one line of error, or a control character on the screen. Seconds are of a"
        " processor. Memory is the peak of the process that runs all commands, torch included, or of a child of it that"
        " ran a graph.",
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
