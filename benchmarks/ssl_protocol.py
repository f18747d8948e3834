"""The evaluation of SSNAS (arXiv:2007.01500, section 4.3), scaled to the machine; the same for every network.

A network is trained with NT-Xent on unlabelled images. Then (linear) a linear classifier on its frozen pooled features
learns from all labels, and (semi) the whole network is fine-tuned with a tenth of them. A tenth of the training images
is held out: their contrastive loss can choose among networks without labels, a classifier's accuracy on them with
labels. The test images choose nothing.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search.cells.recipe import simclr_views
from search.evaluate import Labelled, read_labelled
from search.evaluate.classifiers import accuracy, best_decay, fit_linear
from search.images.views import center
from search.nets import Backbone
from search.nets.layers import projector_of
from search.objectives import nt_xent
from search.oneshot.darts.loss import held_out_loss, two_views

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
class Sets:
    """What trains, what is held out of that, and what tests."""

    train: Labelled
    held_out: Labelled
    test: Labelled


@dataclass(frozen=True, kw_only=True)
class Score:
    """Accuracies are 0..1."""

    held_out_loss: float
    validation_linear: float
    linear: float
    semi: float


def read_sets(train: Path, test: Path, *, resolution: int, limit: int | None) -> Sets:
    """Two folders with one sub-folder a class, under the same names."""
    size_px = _OVERSIZE * resolution
    whole = read_labelled(train, size_px=size_px, limit=limit)
    order = torch.randperm(len(whole.labels), generator=torch.Generator().manual_seed(0))
    held = max(2, int(_HELD_OUT * len(order)))
    return Sets(
        train=_at(whole, order[held:]),
        held_out=_at(whole, order[:held]),
        test=read_labelled(test, size_px=size_px, classes=whole.classes, limit=limit),
    )


def score(backbone: Backbone, sets: Sets, protocol: Protocol, seed: int) -> Score:
    """Of one network, its weights as torch's generator drew them."""
    network = _trained(backbone, sets.train.pixels, protocol, seed)
    batch = min(protocol.batch, len(sets.held_out.labels))
    views = simclr_views(protocol.resolution)
    loss = held_out_loss(
        network, sets.held_out.pixels, views, batch=batch, temperature=_TEMPERATURE, passes=max(1, 256 // batch)
    )
    known, held_out, asked = (
        (_features(backbone, part, protocol), part.labels) for part in (sets.train, sets.held_out, sets.test)
    )
    classifier = fit_linear(known, best_decay(known, held_out))
    return Score(
        held_out_loss=round(loss, 4),
        validation_linear=round(accuracy(classifier, held_out), 4),
        linear=round(accuracy(classifier, asked), 4),
        semi=round(_semi(backbone, sets, protocol, seed), 4),
    )


def _at(labelled: Labelled, rows: Tensor) -> Labelled:
    return replace(labelled, pixels=labelled.pixels[rows], labels=labelled.labels[rows])


def _trained(backbone: Backbone, pixels: Tensor, protocol: Protocol, seed: int) -> nn.Module:
    """Backbone and projector after contrastive training."""
    p, views, width = protocol, simclr_views(protocol.resolution), backbone.embedding_dim
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
def _features(backbone: Backbone, data: Labelled, protocol: Protocol) -> Tensor:
    backbone.eval()
    return torch.cat([_embedded(backbone, pixels, protocol).cpu() for pixels in data.pixels.split(256)])


def _embedded(network: nn.Module, pixels: Tensor, protocol: Protocol) -> Tensor:
    embedded: Tensor = network(center(pixels.to(protocol.device), protocol.resolution))
    return embedded


def _semi(backbone: Backbone, sets: Sets, protocol: Protocol, seed: int) -> float:
    """Test accuracy after fine-tuning the whole network on a tenth of the labels."""
    rng = torch.Generator().manual_seed(seed)
    count, classes = len(sets.train.labels), len(sets.train.classes)
    few = _at(sets.train, torch.randperm(count, generator=rng)[: max(64, int(_SEMI * count))])
    network = nn.Sequential(backbone, nn.Linear(backbone.embedding_dim, classes)).to(protocol.device).train()
    optimizer = torch.optim.SGD(network.parameters(), protocol.lr, momentum=0.9, weight_decay=3e-4)
    per_epoch = len(few.labels) // _SEMI_BATCH
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, protocol.semi_epochs * per_epoch)
    for _ in range(protocol.semi_epochs):
        order = torch.randperm(len(few.labels), generator=rng)
        for i in range(per_epoch):
            batch = _at(few, order[i * _SEMI_BATCH : (i + 1) * _SEMI_BATCH])
            mirrored = (torch.rand(_SEMI_BATCH, generator=rng) < 0.5)[:, None, None, None]
            pixels = torch.where(mirrored, batch.pixels.flip(3), batch.pixels)
            optimizer.zero_grad()
            F.cross_entropy(_embedded(network, pixels, protocol), batch.labels.to(protocol.device)).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            schedule.step()
    scores = _features(network, sets.test, protocol)
    return float((scores.argmax(1) == sets.test.labels).float().mean())
