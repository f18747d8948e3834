"""Is the budget kept? A search at several budgets on this machine; the winner is timed again, in a process of its own.

    python benchmarks/budget.py --images DIR [--budget 0.5ms --budget 1ms --budget 2ms]

Passes (exit 0) when every winner measures at most 1.05 x its budget.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import zoo

_TIME = """
import sys
from pathlib import Path
import numpy as np
from hardware_profiles import OnnxRunner, time_call
with OnnxRunner(Path(sys.argv[1]), threads=int(sys.argv[3])) as runner:
    side_px = int(sys.argv[2])
    x = {"input": np.random.default_rng(0).standard_normal((1, 3, side_px, side_px), dtype=np.float32)}
    print(min(time_call(lambda: runner.run(x)).median_ms for _ in range(5)))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--budget", action="append", help="may be repeated")
    args = parser.parse_args()
    kept = True
    for budget in args.budget or ["0.5ms", "1ms", "2ms"]:
        with tempfile.TemporaryDirectory() as scratch:
            made = zoo.search(args.images, budget=budget, out=Path(scratch) / "package")
            (report,) = made.card.reports
            path, px = made.path / report.path, made.card.preprocess.size_px[0]
            command = [sys.executable, "-c", _TIME, str(path), str(px), str(report.threads)]
            again_ms = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        limit_ms = float(budget.removesuffix("ms"))
        kept &= again_ms <= 1.05 * limit_ms
        row = {
            "budget_ms": limit_ms,
            "predicted_ms": report.predicted_ms,
            "measured_ms": report.measured.median_ms if report.measured else None,
            "measured_again_ms": round(again_ms, 4),
            "networks_tried": len(made.card.recipe.tries),
            "device": report.device,
            "threads": report.threads,
        }
        print(json.dumps(row), flush=True)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
