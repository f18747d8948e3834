"""How fast is the search? Architectures a second through the latency table, and one whole search at the defaults.

    python benchmarks/search_speed.py [--images DIR] [--budget 1ms]
    python benchmarks/search_speed.py --images DIR --whole det --classes 3 --device galaxy-s24 --budget 2ms

Without --images the demo's own. The table is this machine's, measured first where there is none yet. With --whole, all
that `zoo search` does for a task at photo size, reading and packing included, and what its parts take.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from pkgutil import resolve_name
from typing import Any
from unittest.mock import patch

import numpy as np

import zoo
from search.images.read import read_images
from search.subnets.costs import CostModel
from search.subnets.evolution import find
from zoo.demo import write_demo_images
from zoo.devices.tables import table_for
from zoo.names import parse_budget
from zoo.supernets import read_supernet

PARTS = {
    "images": "zoo.make.search.prepare",
    "scores": "zoo.make.confirm.find_each",
    "statistics of the winner": "zoo.make.confirm.recalibrate",
    "export, comparison, timing": "zoo.make.confirm.export",
    "page": "zoo.make.search.write_beside",
}


def whole(args: argparse.Namespace) -> None:
    spent = dict.fromkeys(PARTS, 0.0)

    def timed(part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def again(*given: Any, **named: Any) -> Any:
            started = time.perf_counter()
            try:
                return call(*given, **named)
            finally:
                spent[part] += time.perf_counter() - started

        return again

    with tempfile.TemporaryDirectory() as scratch, ExitStack() as patches:
        for part, path in PARTS.items():
            patches.enter_context(patch(path, timed(part, resolve_name(path))))
        started = time.perf_counter()
        zoo.search(
            args.images,
            out=Path(scratch) / "package",
            budget=args.budget,
            task=args.whole,
            device=args.device,
            classes=args.classes,
            resolution_px=args.resolution,
            progress=None,
        )
        seconds = time.perf_counter() - started
    print(f"{seconds:.1f} s: " + ", ".join(f"{part} {s:.1f}" for part, s in spent.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--supernet", default="mobile-mocov2")
    parser.add_argument("--budget", default="1ms")
    parser.add_argument("--whole", metavar="TASK")
    parser.add_argument("--classes", type=int)
    parser.add_argument("--device", default="this")
    parser.add_argument("--resolution", type=int, default=224)
    args = parser.parse_args()
    if args.whole:
        whole(args)
        return

    supernet = read_supernet(args.supernet).supernet
    net, px = supernet.net, supernet.card.resolution_px
    table = table_for("this", net.name, px).latencies
    cost = CostModel(net, table)
    sizes = np.array([len(choice.options) for choice in net.space])
    rows = np.random.default_rng(0).integers(sizes, size=(200_000, len(sizes)))
    rates = []
    for _ in range(5):
        started = time.perf_counter()
        cost(rows)
        rates.append(len(rows) / (time.perf_counter() - started))
    print(f"table: {np.median(rates):,.0f} architectures/s (ms, MACs, parameters and memory; median of 5)")
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.images or Path(scratch)
        if args.images is None:
            write_demo_images(folder)
        pixels = read_images(folder, size_px=px).pixels
        result = find(supernet, table, pixels, parse_budget(args.budget))
    print(f"search: {result.seconds:.1f} s for {len(result.evaluated)} networks on {min(len(pixels), 128)} images")
    print(json.dumps({"architectures_per_s": round(float(np.median(rates))), "search_s": round(result.seconds, 1)}))


if __name__ == "__main__":
    main()
