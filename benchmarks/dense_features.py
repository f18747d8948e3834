"""Whose maps tell things apart? Positions of frozen feature maps, by k-NN on labelled masks.

    python benchmarks/dense_features.py --train DIR --test DIR [--supernet mobile-mocov2 --supernet mobile-densecl]

A labelled set holds images/ and masks/ with PNG files of the same names, a mask's values being classes (255: ignored);
features are those of positions, all levels together. Judged are the largest and the smallest network of each supernet,
with statistics of the training images, and both with fresh weights. Labels only judge.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from search.evaluate import Preprocessing, knn_accuracy
from search.images.read import read_images
from search.nets import Backbone
from search.recalibrate import recalibrate
from zoo.supernets import read_supernet
from zoo.use.subject import untrained

GRID = 4
Labelled = tuple[Tensor, Tensor]


def masks(folder: Path, px: int, limit: int, seen: Callable[[Tensor], Tensor]) -> Labelled:
    """Images [N, 3, R, R] and the labels of their positions [N, R / GRID, R / GRID]."""
    images = read_images(folder / "images", size_px=px, min_images=1, limit=limit)
    found = []
    for path in images.paths:
        with Image.open(folder / "masks" / f"{path.stem}.png") as mask:
            side = min(mask.size)
            left, top = (mask.width - side) // 2, (mask.height - side) // 2
            box = (left, top, left + side, top + side)
            found.append(np.array(mask.resize((px // GRID, px // GRID), Image.Resampling.NEAREST, box=box)))
    return seen(images.pixels), torch.from_numpy(np.stack(found)).long()


@torch.no_grad()
def positions(backbone: Backbone, labelled: Labelled) -> Labelled:
    """Features of every position of the grid, each level of unit length, and its label; ignored ones left out."""
    side, rows = labelled[1].shape[-1], []
    for batch in labelled[0].split(32):
        levels = [
            F.normalize(F.interpolate(level, size=side, mode="bilinear", antialias=True), dim=1)
            for level in backbone.features(batch).values()
        ]
        rows.append(torch.cat(levels, dim=1).permute(0, 2, 3, 1).flatten(0, 2))
    labels = labelled[1].flatten()
    kept = torch.nonzero(labels != 255).flatten()
    kept = kept[torch.randperm(len(kept), generator=torch.Generator().manual_seed(0))[:20_000]]
    return torch.cat(rows)[kept], labels[kept]


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
