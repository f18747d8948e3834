"""Do the label-free scores rank networks as labels do? Inside a narrow band of milliseconds, where size decides little.

    python benchmarks/scores.py --task cls --train DIR --test DIR [--device epyc-avx2] [--ms 2] [--networks 50]
    python benchmarks/scores.py --task seg --train DIR --test DIR     (or --task det)

For cls a labelled set is a folder with one sub-folder a class, and the judge is k-NN accuracy of the embeddings. For
det and seg it holds images/ and masks/ with PNG files of the same names, a mask's values being classes (255: ignored;
for det, boxes painted as their class), and the judge is k-NN accuracy of positions, all levels together.

Prints Kendall's tau of score and judge with a bootstrap interval, and that of MACs and parameters, which any score
must beat. Labels only judge here.
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

from hardware_profiles.fit.calibrate import kendall_tau
from hardware_profiles.tables.find import find_table
from search.evaluate import knn_accuracy
from search.images.read import read_images
from search.images.views import center
from search.nets import Backbone
from search.recalibrate import recalibrate
from search.scores import SCORES
from search.subnets.costs import CostModel
from search.subnets.evolution import scattered
from search.types import Task
from zoo.home import own_tables
from zoo.supernets import read_supernet

SCORED, BOOTSTRAPS, GRID = 128, 1000, 4
Labelled = tuple[Tensor, Tensor]


def classes(folder: Path, px: int, limit: int, seen: Callable[[Tensor], Tensor]) -> Labelled:
    """Images [N, 3, R, R] and labels [N]."""
    images = read_images(folder, size_px=px, min_images=1, limit=limit)
    names = [path.parent.name for path in images.paths]
    order = {name: i for i, name in enumerate(sorted(set(names)))}
    return seen(images.pixels), torch.tensor([order[name] for name in names])


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
def embedded(backbone: Backbone, labelled: Labelled) -> Labelled:
    return torch.cat([backbone(batch) for batch in labelled[0].split(64)]), labelled[1]


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


def interval(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> list[float]:
    """Of Kendall's tau, 95 %, by resampling networks."""
    draws = [rng.integers(len(a), size=len(a)) for _ in range(BOOTSTRAPS)]
    return [round(float(v), 3) for v in np.percentile([kendall_tau(a[i], b[i]) for i in draws], [2.5, 97.5])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", type=Task, choices=list(Task), required=True)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=2000, help="images of each folder")
    parser.add_argument("--device", default="epyc-avx2")
    parser.add_argument("--ms", type=float, default=2.0, help="the band is 0.95 to 1 times this")
    parser.add_argument("--resolution", type=int)
    parser.add_argument("--networks", type=int, default=50)
    parser.add_argument("--supernet", default="mobile-mocov2")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    ready = read_supernet(args.supernet)
    supernet, card, rng = ready.supernet, ready.supernet.card, np.random.default_rng(args.seed)
    px = args.resolution or card.resolution_px
    table = find_table(args.device, net=card.net, resolution_px=px, folders=[own_tables()])
    read, features = (classes, embedded) if args.task is Task.CLS else (masks, positions)
    sets = [read(f, px, args.limit, lambda p: center(p, px, card.mean, card.std)) for f in (args.train, args.test)]
    rows = scattered(supernet.net, rng)
    costs = CostModel(supernet.net, table)(rows)
    inside = np.flatnonzero((costs.predicted_ms > 0.95 * args.ms) & (costs.predicted_ms <= args.ms))
    chosen = rng.permutation(inside)[: args.networks]
    x_NCHW = sets[0][0][torch.from_numpy(rng.permutation(len(sets[0][0]))[:SCORED])]
    score = SCORES[args.task]

    def look(backbone: Backbone) -> tuple[Tensor, ...]:
        return score.look(backbone, supernet.projector(backbone.embedding_dim), x_NCHW)

    teacher = look(supernet.subnet(supernet.net.largest(px)))
    scores, judged = [], []
    for architecture in supernet.net.decode(rows[chosen], px):
        backbone = supernet.subnet(architecture)
        scores.append(score.compare(look(backbone), teacher))
        recalibrate(backbone, sets[0][0][:1024].split(128))
        train, test = (features(backbone, each) for each in sets)
        judged.append(knn_accuracy(train[0], train[1], test[0], test[1]))
        print(f"score {scores[-1]:.4f}  k-NN {judged[-1]:.4f}", flush=True)
    truth = np.array(judged)
    rankers = {"score": np.array(scores), "macs": costs.macs[chosen] * 1.0, "params": costs.params[chosen] * 1.0}
    result = {
        name: {"tau": round(kendall_tau(by, truth), 3), "interval": interval(by, truth, rng)}
        for name, by in rankers.items()
    }
    about = {"task": args.task, "networks": len(chosen), "device": args.device, "ms": args.ms, "seed": args.seed}
    print(json.dumps({**about, **result, "supernet_sha256": ready.sha256}))


if __name__ == "__main__":
    main()
