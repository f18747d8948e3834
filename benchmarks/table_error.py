"""How well a table measured here predicts whole networks that it has not seen, and how long measuring takes.

    python benchmarks/table_error.py                                  # mobile, resnet and cell, 100 networks, twice
    python benchmarks/table_error.py --net mobile --precision int8 --networks 100 --runs 2

Run it on a quiet machine; it refuses a noisy one unless --force. The seconds are those of measuring with the 16
validation networks that `zoo devices measure` has; the others are timed beside them, in the same rounds.
"""

import argparse
import json
import time
from dataclasses import asdict

from zoo.devices.this_machine import Setting, measure_here

GOAL = "goal: mean error <= 4 %, within 10 % >= 95 %, tau >= 0.90"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", action="append", help="again for more; mobile, resnet and cell by default")
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--precision", action="append", choices=("fp32", "fp16", "int8"), help="again for more; fp32")
    parser.add_argument("--runtime", default="onnxruntime")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--networks", type=int, default=100, help="unseen networks (100)")
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--runs", type=int, default=2, help="separate measurements (2)")
    parser.add_argument(
        "--time", action="store_true", help="also measure as `zoo devices measure` does, for the seconds"
    )
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def seconds_to_measure(net: str, resolution_px: int, used: Setting, *, force: bool) -> float:
    begin = time.perf_counter()
    measure_here(net, resolution_px, setting=used, force=force)
    return time.perf_counter() - begin


def main() -> None:
    asked = arguments()
    rows = []
    for net in asked.net or ("mobile", "resnet", "cell"):
        for precision in asked.precision or ("fp32",):
            used = Setting(precision=precision, threads=asked.threads, runtime=asked.runtime)
            for run in range(asked.runs):
                table = measure_here(
                    net,
                    asked.resolution,
                    setting=used,
                    seed=run,
                    rounds=asked.rounds,
                    validate_on=asked.networks,
                    force=asked.force,
                )
                assert table.validation is not None
                rows.append({"net": net, "precision": precision, "run": run, **asdict(table.validation)})
                if asked.time:
                    rows[-1]["seconds"] = seconds_to_measure(net, asked.resolution, used, force=asked.force)
                if not asked.json:
                    print(
                        "  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in rows[-1].items())
                    )
    print(json.dumps(rows, indent=2) if asked.json else GOAL)


if __name__ == "__main__":
    main()
