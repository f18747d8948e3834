"""Does the drift tell images of another kind from others of the same kind?

    python benchmarks/drift.py --images DIR --images OTHER ... [--subnets 2]

Random networks get the statistics of the first half of one folder; printed is the drift of its second half and of
every other folder. Exits with 1 unless a threshold (`export.verify.drift.MOST`) lies between all of the former and the
latter.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

from export.verify.drift import MOST, measure_drift
from search.images.read import read_images
from search.images.views import center
from search.nets import NETS
from search.recalibrate import recalibrate
from zoo.supernets import read_supernet


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, action="append", required=True, help="repeat it for each set")
    parser.add_argument("--supernet", default="mobile-photo-mocov2")
    parser.add_argument("--subnets", type=int, default=2)
    parser.add_argument("--limit", type=int, default=400)
    args = parser.parse_args()
    ready = read_supernet(args.supernet)
    about, rng = ready.supernet.card, np.random.default_rng(0)
    px = about.resolution_px
    sets = {
        folder.name: center(read_images(folder, size_px=px, limit=args.limit).pixels, px, about.mean, about.std)
        for folder in args.images
    }
    same: list[float] = []
    other: list[float] = []
    for _ in range(args.subnets):
        for name, images in sets.items():
            backbone = ready.supernet.subnet(NETS[about.net].random(px, rng))
            recalibrate(backbone, torch.split(images[::2], 100))
            drifts = {key: measure_drift(backbone, value[1::2]) or 0.0 for key, value in sets.items()}
            same.append(drifts[name])
            other += [drift for key, drift in drifts.items() if key != name]
            print(json.dumps({"made_for": name, **{key: round(drift, 3) for key, drift in drifts.items()}}), flush=True)
    print(json.dumps({"same": [min(same), max(same)], "other": [min(other), max(other)], "threshold": MOST}))
    return 0 if max(same) <= MOST < min(other) else 1


if __name__ == "__main__":
    sys.exit(main())
