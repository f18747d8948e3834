"""How good are a supernet's networks? Weighted k-NN accuracy on labelled images, against the same networks untrained.

    python benchmarks/supernet_quality.py --train DIR --test DIR [--supernet mobile-mocov2] [--subnets 6]

A labelled set is a folder with one sub-folder a class. Labels only judge here;
no training or search sees them.
Every network's normalization statistics are recalibrated on the same 2,048 training images. Seeded, so repeatable.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from search.calibrate import recalibrate
from search.evaluate import knn_accuracy
from search.images import read_images
from search.nets import Backbone
from search.supernet import Supernet
from search.types import Architecture
from search.views import center
from zoo.supernets import read_supernet


def labelled(folder: Path, supernet: Supernet, limit: int | None) -> tuple[Tensor, Tensor]:
    """Images as the network sees them [N, 3, R, R], and the position of their class folder [N]."""
    card = supernet.card
    images = read_images(folder, size_px=card.resolution_px, min_images=1, limit=limit)
    names = [path.parent.name for path in images.paths]
    classes = {name: i for i, name in enumerate(sorted(set(names)))}
    x_NCHW = center(images.pixels, card.resolution_px, card.mean, card.std)
    return x_NCHW, torch.tensor([classes[name] for name in names])


@torch.no_grad()
def embed(backbone: Backbone, x_NCHW: Tensor) -> Tensor:
    return torch.cat([backbone(batch_BCHW) for batch_BCHW in x_NCHW.split(64)])


def accuracy(backbone: Backbone, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> float:
    backbone.to(memory_format=torch.channels_last)
    recalibrate(backbone, train[0][torch.randperm(len(train[0]))[:2048]].split(128))
    return knn_accuracy(embed(backbone, train[0]), train[1], embed(backbone, test[0]), test[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--supernet", default="mobile-mocov2")
    parser.add_argument("--subnets", type=int, default=6, help="random networks beside the largest and the smallest")
    parser.add_argument("--limit", type=int, help="at most this many images of each folder, evenly spread")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    supernet = read_supernet(args.supernet).supernet
    train, test = labelled(args.train, supernet, args.limit), labelled(args.test, supernet, args.limit)
    net, px, rng = supernet.net, supernet.card.resolution_px, np.random.default_rng(args.seed)
    networks: dict[str, Architecture] = {"largest": net.largest(px), "smallest": net.smallest(px)}
    networks |= {f"random {i}": net.random(px, rng) for i in range(args.subnets)}
    rows = []
    for name, architecture in networks.items():
        torch.manual_seed(args.seed)
        trained = accuracy(supernet.subnet(architecture), train, test)
        torch.manual_seed(args.seed)
        untrained = accuracy(net.build(architecture).eval(), train, test)
        rows.append({"network": name, "trained": round(trained, 4), "untrained": round(untrained, 4)})
        print(f"{name:10} trained {trained:6.1%}  untrained {untrained:6.1%}", flush=True)
    print(json.dumps({"k": 200, "train": len(train[0]), "test": len(test[0]), "seed": args.seed, "networks": rows}))


if __name__ == "__main__":
    main()
