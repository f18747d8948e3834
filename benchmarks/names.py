"""Can a name be answered without images? The supernet's statistics stand in for real images; how well do they?

    python benchmarks/names.py --images DIR [--train DIR --test DIR] [--task cls --task det --task seg] [--networks 24]

1. Ranking: random networks are scored on images made from the bundled statistics, on dead leaves, on noise, and on
   other real images; Kendall's tau of each ranking with that on real images. The last one is the most one can hope for.
2. Statistics: k-NN accuracy (labels only judge) of the networks, recalibrated on each of these, on the labelled images.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import Tensor

from search.evaluate import knn_accuracy
from search.images.read import read_images
from search.images.statistics import load_statistics
from search.images.synthesize import dead_leaves, synthesize
from search.images.views import center
from search.recalibrate import recalibrate
from search.scores import CRITERIA, SCORES, Look, look
from search.supernet import Supernet
from search.types import Architecture, Task
from zoo.supernets import read_supernet

COUNT, COMPARED = 512, 128


def scores(supernet: Supernet, networks: list[Architecture], x_NCHW: Tensor, task: Task) -> list[float]:
    def seen(architecture: Architecture) -> Look:
        backbone = supernet.subnet(architecture)
        return look(backbone, supernet.projector(backbone.embedding_dim), x_NCHW)

    teacher = seen(supernet.net.largest(x_NCHW.shape[-1]))
    return [CRITERIA[SCORES[task]](seen(architecture), teacher) for architecture in networks]


def labelled(folder: Path, supernet: Supernet, limit: int) -> tuple[Tensor, Tensor]:
    card = supernet.card
    images = read_images(folder, size_px=card.resolution_px, min_images=1, limit=limit)
    names = [path.parent.name for path in images.paths]
    classes = {name: i for i, name in enumerate(sorted(set(names)))}
    return center(images.pixels, card.resolution_px, card.mean, card.std), torch.tensor([classes[n] for n in names])


@torch.no_grad()
def knn(
    supernet: Supernet, one: Architecture, x_NCHW: Tensor, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]
) -> float:
    backbone = supernet.subnet(one)
    recalibrate(backbone, x_NCHW.split(128))
    (a, b) = (torch.cat([backbone(batch) for batch in x.split(64)]) for x in (train[0], test[0]))
    return knn_accuracy(a, train[1], b, test[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="such as the supernet was trained on")
    parser.add_argument("--train", type=Path, help="labelled: one sub-folder a class")
    parser.add_argument("--test", type=Path)
    parser.add_argument("--limit", type=int, default=2000, help="labelled images of each folder")
    parser.add_argument("--task", type=Task, choices=list(Task), action="append")
    parser.add_argument("--networks", type=int, default=24)
    parser.add_argument("--supernet", default="mobile-mocov2")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    ready = read_supernet(args.supernet)
    supernet, card = ready.supernet, ready.supernet.card
    px, rng = card.resolution_px, np.random.default_rng(args.seed)
    statistics = load_statistics(ready.folder)
    assert statistics is not None, f"{ready.folder} has no statistics; python -m zoo.make.bundle makes them"
    real = read_images(args.images, size_px=px, min_images=2 * COUNT, limit=2 * COUNT).pixels
    pixels = {
        "real": real[::2],
        "other real": real[1::2],
        "statistics": synthesize(statistics, COUNT, px, seed=args.seed),
        "dead leaves": dead_leaves(COUNT, px, seed=args.seed),
        "noise": torch.from_numpy(rng.integers(0, 256, (COUNT, 3, px, px), dtype=np.uint8)),
    }
    images = {name: center(each, px, card.mean, card.std) for name, each in pixels.items()}
    networks = [supernet.net.random(px, rng) for _ in range(args.networks)]
    result: dict[str, object] = {"networks": args.networks, "seed": args.seed, "supernet_sha256": ready.sha256}
    for task in args.task or list(Task):
        by = {name: scores(supernet, networks, x_NCHW[:COMPARED], task) for name, x_NCHW in images.items()}
        taus = {
            name: round(float(kendalltau(by["real"], each).statistic), 3) for name, each in by.items() if name != "real"
        }
        print(f"{task}: tau with the ranking on real images: {taus}", flush=True)
        result[f"tau_{task}"] = taus
    if args.train and args.test:
        train, test = (labelled(folder, supernet, args.limit) for folder in (args.train, args.test))
        extremes = [supernet.net.largest(px), supernet.net.smallest(px), *networks[:4]]
        by = {name: [knn(supernet, one, x, train, test) for one in extremes] for name, x in images.items()}
        accuracy = {name: round(float(np.mean(each)), 4) for name, each in by.items()}
        print(f"mean k-NN accuracy of {len(extremes)} networks, recalibrated on: {accuracy}")
        result |= {"knn": accuracy, "train": len(train[0]), "test": len(test[0])}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
