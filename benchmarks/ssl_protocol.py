"""The evaluation of SSNAS (arXiv:2007.01500, section 4.3), scaled to the machine; the same for every network.

A network is trained with NT-Xent on unlabelled images. Then (linear) a linear classifier on its frozen pooled features
learns from all labels, and (semi) the whole network is fine-tuned with a tenth of them. A tenth of the training images
is held out: their contrastive loss can choose among networks without labels, a classifier's accuracy on them with
labels. The test images choose nothing.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search.darts_recipe import simclr_views
from search.images import read_images
from search.objectives import nt_xent
from search.oneshot.contrast import held_out_loss, two_views
from search.supernet import projector_of
from search.views import center

DECAYS = (1e-4, 1e-3, 1e-2)
_TEMPERATURE = 0.5
_HELD_OUT, _SEMI, _SEMI_BATCH = 0.1, 0.1, 32
_OVERSIZE = 2  # crops are cut from images this many times larger than they are


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How every network is trained and judged."""

    resolution: int
    batch: int
    epochs: float
    semi_epochs: int
    lr: float
    device: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """Pixels uint8 [N, 3, S, S] and classes [N]."""

    pixels: Tensor
    classes: Tensor

    def at(self, chosen: np.ndarray) -> "Labelled":
        index = torch.from_numpy(chosen)
        return Labelled(pixels=self.pixels[index], classes=self.classes[index])


@dataclass(frozen=True, kw_only=True, eq=False)
class Sets:
    """What trains, what is held out of that, and what tests."""

    train: Labelled
    held_out: Labelled
    test: Labelled
    classes: int


@dataclass(frozen=True, kw_only=True)
class Score:
    """Accuracies are 0..1."""

    held_out_loss: float
    validation_linear: float
    linear: float
    semi: float


def read_sets(train: Path, test: Path, *, resolution: int, limit: int | None) -> Sets:
    """Two folders with one sub-folder a class, under the same names."""
    names = sorted(path.name for path in train.iterdir() if path.is_dir())
    whole, judged = (_read(folder, names, _OVERSIZE * resolution, limit) for folder in (train, test))
    order = np.random.default_rng(0).permutation(len(whole.classes))
    held = max(2, int(_HELD_OUT * len(order)))
    return Sets(train=whole.at(order[held:]), held_out=whole.at(order[:held]), test=judged, classes=len(names))


def score(backbone: nn.Module, width: int, sets: Sets, protocol: Protocol, seed: int) -> Score:
    """Of one network, its weights as torch's generator drew them, whose pooled features are ``width`` numbers."""
    network = _trained(backbone, width, sets.train.pixels, protocol, seed)
    batch = min(protocol.batch, len(sets.held_out.classes))
    views = simclr_views(protocol.resolution)
    loss = held_out_loss(
        network, sets.held_out.pixels, views, batch=batch, temperature=_TEMPERATURE, passes=max(1, 256 // batch)
    )
    parts = [(_features(backbone, part, protocol), part.classes) for part in (sets.train, sets.held_out, sets.test)]
    validation, accuracy = linear(*parts, classes=sets.classes)
    return Score(
        held_out_loss=round(loss, 4),
        validation_linear=round(validation, 4),
        linear=round(accuracy, 4),
        semi=round(_semi(backbone, width, sets, protocol, seed), 4),
    )


def linear(
    train: tuple[Tensor, Tensor], val: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], *, classes: int
) -> tuple[float, float]:
    """Validation and test accuracy of multinomial regression; its weight decay is the best on the validation part."""
    mean, std = train[0].mean(0), train[0].std(0) + 1e-6
    (x, y), *judged = [((x - mean) / std, y) for x, y in (train, val, test)]
    found = []
    for decay in DECAYS:
        layer = nn.Linear(x.shape[1], classes)
        optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=200, line_search_fn="strong_wolfe")

        def closure(layer: nn.Linear = layer, optimizer: torch.optim.Optimizer = optimizer, d: float = decay) -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(layer(x), y) + d * layer.weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        with torch.no_grad():
            found.append([float((layer(a).argmax(1) == b).float().mean()) for a, b in judged])
    validation, accuracy = max(found, key=lambda pair: pair[0])  # of equal ones the first, whatever it does on the test
    return validation, accuracy


def _read(folder: Path, names: list[str], size_px: int, limit: int | None) -> Labelled:
    images = read_images(folder, size_px=size_px, min_images=1, limit=limit)
    classes = [names.index(path.parent.name) for path in images.paths]
    return Labelled(pixels=images.pixels, classes=torch.tensor(classes))


def _trained(backbone: nn.Module, width: int, pixels: Tensor, protocol: Protocol, seed: int) -> nn.Module:
    """Backbone and projector after contrastive training."""
    p, views = protocol, simclr_views(protocol.resolution)
    network = nn.Sequential(backbone, projector_of(width, width, 128)).to(memory_format=torch.channels_last)
    network.to(p.device).train()
    generator = torch.Generator().manual_seed(seed)
    per_epoch = len(pixels) // p.batch
    steps = int(p.epochs * per_epoch)
    optimizer = torch.optim.SGD(network.parameters(), p.lr, momentum=0.9, weight_decay=3e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        if step % per_epoch == 0:
            order = torch.randperm(len(pixels), generator=generator)
        at = step % per_epoch * p.batch
        x = two_views(pixels[order[at : at + p.batch]].to(p.device), views, generator)
        optimizer.zero_grad()
        nt_xent(network(x), _TEMPERATURE).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    return network


@torch.no_grad()
def _features(backbone: nn.Module, data: Labelled, protocol: Protocol) -> Tensor:
    backbone.eval()
    return torch.cat([_embedded(backbone, pixels, protocol).cpu() for pixels in data.pixels.split(256)])


def _embedded(network: nn.Module, pixels: Tensor, protocol: Protocol) -> Tensor:
    embedded: Tensor = network(center(pixels.to(protocol.device), protocol.resolution))
    return embedded


def _semi(backbone: nn.Module, width: int, sets: Sets, protocol: Protocol, seed: int) -> float:
    """Test accuracy after fine-tuning the whole network on a tenth of the labels."""
    rng = np.random.default_rng(seed)
    few = sets.train.at(rng.permutation(len(sets.train.classes))[: max(64, int(_SEMI * len(sets.train.classes)))])
    network = nn.Sequential(backbone, nn.Linear(width, sets.classes)).to(protocol.device).train()
    optimizer = torch.optim.SGD(network.parameters(), protocol.lr, momentum=0.9, weight_decay=3e-4)
    per_epoch = len(few.classes) // _SEMI_BATCH
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, protocol.semi_epochs * per_epoch)
    for _ in range(protocol.semi_epochs):
        order = rng.permutation(len(few.classes))
        for i in range(per_epoch):
            batch = few.at(order[i * _SEMI_BATCH : (i + 1) * _SEMI_BATCH])
            mirrored = torch.from_numpy(rng.random(_SEMI_BATCH) < 0.5)[:, None, None, None]
            pixels = torch.where(mirrored, batch.pixels.flip(3), batch.pixels)
            optimizer.zero_grad()
            F.cross_entropy(_embedded(network, pixels, protocol), batch.classes.to(protocol.device)).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            schedule.step()
    scores = _features(network, sets.test, protocol)
    return float((scores.argmax(1) == sets.test.classes).float().mean())
