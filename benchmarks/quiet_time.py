"""How fast is a package's network when nothing disturbs it, and how fast mostly? For machines with unseen neighbors.

    python benchmarks/quiet_time.py PACKAGE [PACKAGE ...]

The packages take turns of 8 ms; the quietest window of half a millisecond, as `zoo devices measure` takes it, stands
beside the prediction and the median of all turns. One thread, ONNX Runtime.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from hardware_profiles import OnnxRunner
from hardware_profiles.timing.rounds import quietest, take_turns
from hardware_profiles.timing.timing import lender
from zoo.package.folder import load_package


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=60)
    args = parser.parse_args()

    models = {str(path): load_package(path) for path in args.packages}
    subjects = {}
    for name, model in models.items():
        x = np.random.default_rng(0).standard_normal((1, 3, model.resolution_px, model.resolution_px), dtype=np.float32)
        subjects[name] = (lambda model=model: OnnxRunner(model.onnx_path, threads=1)), {"input": x}
    turns: dict[str, list[tuple[float, float, int]]] = {name: [] for name in models}
    with lender(subjects, keep=True) as lend:
        take_turns(
            lend, turns, rounds=args.rounds, clock=time.perf_counter_ns, max_seconds=0.008, window_seconds=0.0005
        )
    for name, had in turns.items():
        card = models[name].card
        row = {
            "name": card.name,
            "predicted_ms": card.reports[0].predicted_ms,
            "quietest_ms": round(quietest(had)[0] / 1e6, 3),
            "median_of_turns_ms": round(float(np.median([turn[0] for turn in had])) / 1e6, 3),
        }
        print(json.dumps(row))


if __name__ == "__main__":
    main()
