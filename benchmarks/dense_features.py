"""Whose maps tell things apart? Positions of frozen feature maps, by k-NN on labelled masks.

    python benchmarks/dense_features.py --train DIR --test DIR [--supernet mobile-mocov2 --supernet mobile-densecl]

A labelled set holds images/ and masks/ as `benchmarks/scores.py` reads them for seg and det; its positions and their
features, all levels together, are the same. Judged are the largest and the smallest network of each supernet, with
statistics of the training images, and both with fresh weights. Labels only judge.
"""

import argparse
import json
from pathlib import Path

from scores import Labelled, masks, positions

from search.evaluate import Preprocessing, knn_accuracy
from search.nets import Backbone
from search.recalibrate import recalibrate
from zoo.supernets import read_supernet
from zoo.use.subject import untrained


def judge(backbone: Backbone, train: Labelled, test: Labelled) -> float:
    """Share of the test positions that are classified right."""
    recalibrate(backbone, train[0][:1024].split(128))
    return round(knn_accuracy(*positions(backbone, train), *positions(backbone, test)), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--supernet", action="append", help="again for more; default: mobile-mocov2, mobile-densecl")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--limit", type=int, default=2000, help="images of each folder")
    args = parser.parse_args()
    for name in args.supernet or ["mobile-mocov2", "mobile-densecl"]:
        ready, px = read_supernet(name), args.resolution
        card, net = ready.supernet.card, ready.supernet.net
        seen = Preprocessing(size_px=px, mean=card.mean, std=card.std)
        train, test = (masks(folder, px, args.limit, seen) for folder in (args.train, args.test))
        for role, architecture in (("largest", net.largest(px)), ("smallest", net.smallest(px))):
            for weights, backbone in (
                ("trained", ready.supernet.subnet(architecture)),
                ("untrained", untrained(architecture, seed=0)),
            ):
                about = {"supernet": card.name, "sha256": ready.sha256[:12], "network": role, "weights": weights}
                print(json.dumps(about | {"knn": judge(backbone, train, test)}), flush=True)


if __name__ == "__main__":
    main()
