"""Are searched cells better than random ones? Contrastive training of each, then linear evaluation and fine-tuning.

    python benchmarks/cells.py --train DIR --test DIR --genotype found/seeds/0/genotype.json ... [--random 4]
        [--supervised supervised/genotype.json ...] [--batch 32 --batch 64] [--epochs 100] [--seeds 4]

The protocol of SSNAS (arXiv:2007.01500, section 4.3), scaled to the machine: every network is trained with NT-Xent by
the same recipe for the same epochs; then (linear) a linear classifier on its frozen pooled features with all labels,
and (semi) the whole network fine-tuned with 10 % of the labels. Rows: the searched cells, random cells (uniform, two
distinct inputs a node), the cells of a supervised search (``benchmarks/supervised_darts.py``), ResNet-18. Of each kind
two choices are reported apart: without labels (lowest contrastive loss on held-out training images) and with labels
(highest accuracy on held-out training images); the test images choose nothing.

A labelled set is a folder with one sub-folder a class. Labels only judge here.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from search.darts_recipe import simclr_views
from search.genotype import random_genotype, read_genotype
from search.images import read_images
from search.nets.cell import CELL
from search.objectives import nt_xent
from search.oneshot.contrast import held_out_loss, two_views
from search.supernet import projector_of
from search.views import center

DECAYS = (1e-4, 1e-3, 1e-2)
_HELD_OUT = 0.1
_SEMI = 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """Pixels uint8 [N, 3, S, S] and classes [N]."""

    pixels: Tensor
    classes: Tensor

    def at(self, chosen: np.ndarray) -> "Labelled":
        index = torch.from_numpy(chosen)
        return Labelled(pixels=self.pixels[index], classes=self.classes[index])


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one network did with one seed."""

    kind: str
    name: str
    batch: int
    seed: int
    params: int
    held_out_loss: float
    validation_linear: float
    linear: float
    semi: float


def read(folder: Path, px: int, limit: int | None) -> Labelled:
    images = read_images(folder, size_px=px, min_images=1, limit=limit)
    names = [path.parent.name for path in images.paths]
    numbers = {name: i for i, name in enumerate(sorted(set(names)))}
    return Labelled(pixels=images.pixels, classes=torch.tensor([numbers[name] for name in names]))


def resnet18() -> nn.Module:
    """With the 3x3 stem for small images, pooled features out."""
    network = torchvision.models.resnet18()
    network.conv1, network.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    network.fc = nn.Identity()
    return network


def trained(
    backbone: nn.Module, width: int, pixels: Tensor, args: argparse.Namespace, batch: int, seed: int
) -> nn.Module:
    """Backbone and projector after contrastive training; the same for every network."""
    network = nn.Sequential(backbone, projector_of(width, width, 128)).to(memory_format=torch.channels_last)
    network.to(args.device).train()
    optimizer = torch.optim.SGD(network.parameters(), args.lr, momentum=0.9, weight_decay=3e-4)
    generator, settings = torch.Generator().manual_seed(seed), simclr_views(args.resolution)
    steps = int(args.epochs * (len(pixels) // batch))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    done = 0
    while done < steps:
        order = torch.randperm(len(pixels), generator=generator)
        for chosen in order[: len(pixels) // batch * batch].split(batch):
            if done == steps:
                break
            optimizer.zero_grad()
            x = two_views(pixels[chosen].to(args.device), settings, generator)
            nt_xent(network(x), 0.5).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            done += 1
    return network


@torch.no_grad()
def features(backbone: nn.Module, data: Labelled, args: argparse.Namespace) -> Tensor:
    backbone.eval()
    return torch.cat([backbone(center(p.to(args.device), args.resolution)).cpu() for p in data.pixels.split(256)])


def linear(
    train: tuple[Tensor, Tensor], val: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]
) -> tuple[float, float]:
    """Validation and test accuracy of multinomial regression; its weight decay is the best on the validation part."""
    mean, std = train[0].mean(0), train[0].std(0) + 1e-6
    (x, y), *judged = [((x - mean) / std, y) for x, y in (train, val, test)]
    found = []
    for decay in DECAYS:
        layer = nn.Linear(x.shape[1], int(y.max()) + 1)
        optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=200, line_search_fn="strong_wolfe")

        def closure(layer: nn.Linear = layer, optimizer: torch.optim.Optimizer = optimizer, d: float = decay) -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(layer(x), y) + d * layer.weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        with torch.no_grad():
            found.append(tuple(float((layer(a).argmax(1) == b).float().mean()) for a, b in judged))
    return max(found)  # type: ignore[return-value]


def semi(
    backbone: nn.Module, width: int, train: Labelled, test: Labelled, args: argparse.Namespace, seed: int
) -> float:
    """Test accuracy after fine-tuning the whole network on a tenth of the labels, the same for every network."""
    rng = np.random.default_rng(seed)
    few = train.at(rng.permutation(len(train.classes))[: max(64, int(_SEMI * len(train.classes)))])
    network = nn.Sequential(backbone, nn.Linear(width, int(train.classes.max()) + 1)).to(args.device).train()
    optimizer = torch.optim.SGD(network.parameters(), args.lr, momentum=0.9, weight_decay=3e-4)
    steps = args.semi_epochs * (len(few.classes) // 32)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(args.semi_epochs):
        for chosen in torch.from_numpy(rng.permutation(len(few.classes))).split(32):
            if len(chosen) < 32:
                continue
            flip = few.pixels[chosen] if rng.random() < 0.5 else few.pixels[chosen].flip(3)
            x = center(flip.to(args.device), args.resolution)
            optimizer.zero_grad()
            F.cross_entropy(network(x), few.classes[chosen].to(args.device)).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        scores = features(network, test, args)
    return float((scores.argmax(1) == test.classes).float().mean())


def networks(args: argparse.Namespace) -> list[tuple[str, str, Callable[[], nn.Module]]]:
    """Kind, name, and how to build each."""

    def cells(genotype: object) -> Callable[[], nn.Module]:
        size = {"cells": args.cells, "channels": args.channels, "resolution_px": args.resolution}
        return lambda: CELL.build(CELL.architecture(genotype, **size))  # type: ignore[arg-type]

    rng = np.random.default_rng(args.random_seed)
    rows = [("searched", str(path), cells(read_genotype(path))) for path in args.genotype]
    rows += [("supervised", str(path), cells(read_genotype(path))) for path in args.supervised]
    rows += [("random", f"random {i}", cells(random_genotype(rng))) for i in range(args.random)]
    return [*rows, ("resnet18", "resnet18", resnet18)] if args.resnet else rows


def judged(
    row: tuple[str, str, Callable[[], nn.Module]], data: list[Labelled], batch: int, seed: int, args: argparse.Namespace
) -> Row:
    kind, name, build = row
    train, held_out, test = data
    torch.manual_seed(seed)
    backbone = build()
    width = int(getattr(backbone, "embedding_dim", 512))
    params = sum(p.numel() for p in backbone.parameters())
    network = trained(backbone, width, train.pixels, args, batch, seed)
    settings = simclr_views(args.resolution)
    loss = held_out_loss(network, held_out.pixels, settings, batch=min(64, len(held_out.classes)), temperature=0.5)
    parts = [(features(backbone, part, args), part.classes) for part in (train, held_out, test)]
    validation, accuracy = linear(*parts)
    return Row(
        kind=kind,
        name=name,
        batch=batch,
        seed=seed,
        params=params,
        held_out_loss=round(loss, 4),
        validation_linear=round(validation, 4),
        linear=round(accuracy, 4),
        semi=round(semi(backbone, width, train, test, args, seed), 4),
    )


def summary(rows: list[Row]) -> list[dict[str, object]]:
    """A line for each kind and batch: all its networks, and the two choices among them, averaged over seeds."""
    lines: list[dict[str, object]] = []
    for kind, batch in dict.fromkeys((row.kind, row.batch) for row in rows):
        own = [row for row in rows if (row.kind, row.batch) == (kind, batch)]
        seeds = sorted({row.seed for row in own})
        chosen = {
            "all": own,
            "chosen without labels": [
                min((r for r in own if r.seed == s), key=lambda r: r.held_out_loss) for s in seeds
            ],
            "chosen with labels": [
                max((r for r in own if r.seed == s), key=lambda r: r.validation_linear) for s in seeds
            ],
        }
        for how, picked in chosen.items():
            line: dict[str, object] = {"kind": kind, "batch": batch, "which": how, "runs": len(picked)}
            for metric in ("linear", "semi"):
                values = [getattr(row, metric) for row in picked]
                line[metric] = [round(float(np.mean(values)), 4), round(float(np.std(values, ddof=len(values) > 1)), 4)]
            lines.append(line)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--genotype", type=Path, nargs="*", default=[])
    parser.add_argument("--supervised", type=Path, nargs="*", default=[])
    parser.add_argument("--random", type=int, default=4)
    parser.add_argument("--random-seed", type=int, default=0)
    parser.add_argument("--resnet", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--batch", type=int, action="append")
    parser.add_argument("--epochs", type=float, default=100)
    parser.add_argument("--semi-epochs", type=int, default=50)
    parser.add_argument("--lr", type=float, default=0.025)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--limit", type=int, help="at most this many images of each folder, evenly spread")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, help="JSON with every run")
    args = parser.parse_args()

    whole, test = read(args.train, args.resolution, args.limit), read(args.test, args.resolution, args.limit)
    order = np.random.default_rng(0).permutation(len(whole.classes))
    held = max(2, int(_HELD_OUT * len(order)))
    data = [whole.at(order[held:]), whole.at(order[:held]), test]
    rows = []
    for batch in args.batch or [64]:
        for network in networks(args):
            for seed in range(args.seeds):
                rows.append(judged(network, data, batch, seed, args))
                print(json.dumps(vars(rows[-1])), flush=True)
    result = {"epochs": args.epochs, "images": len(data[0].classes), "test": len(test.classes), "lines": summary(rows)}
    for line in summary(rows):
        print(json.dumps(line))
    if args.out:
        args.out.write_text(json.dumps({**result, "runs": [vars(row) for row in rows]}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
