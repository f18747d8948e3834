"""How fast is the search? Architectures a second through the latency table, and one whole search at the defaults.

    python benchmarks/search_speed.py [--images DIR] [--budget 1ms]

Without --images the demo's own. The table is this machine's, measured first where there is none yet.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from search.images.read import read_images
from search.subnets.costs import CostModel
from search.subnets.evolution import find
from zoo.demo import write_demo_images
from zoo.devices.tables import table_for
from zoo.names import parse_budget
from zoo.supernets import read_supernet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--supernet", default="mobile-mocov2")
    parser.add_argument("--budget", default="1ms")
    args = parser.parse_args()

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
