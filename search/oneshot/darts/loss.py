"""DARTS loss: NT-Xent of the mixed network on either half of the images, the same for both phases of a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from nni.nas.evaluator.pytorch import LightningModule
from torch import Tensor, nn

from search import ranks
from search.cells.recipe import DartsRecipe
from search.errors import TrainingError
from search.images.views import Views, views
from search.objectives import nt_xent
from search.oneshot.darts.space import ALPHAS, WEIGHTS, halves
from search.oneshot.engine.checkpoints import Run

SEED_STRIDE = 1_000_003  # a prime above any number of steps between two seeds' streams
_STREAMS = (WEIGHTS, ALPHAS)


class Contrast(LightningModule):
    """The loss of the mixed network on either half of the images.

    Args:
        recipe: how to search.
        pixels: uint8 [N, 3, S, S].

    Raises:
        TrainingError: too few or too small images.
    """

    step: Tensor
    sums: Tensor  # of this epoch, by half: loss and count; buffers, so that a resumed epoch has its mean

    def __init__(self, recipe: DartsRecipe, pixels: Tensor) -> None:
        super().__init__()
        self.recipe = recipe
        self.halves = halves(pixels, recipe)
        self.run = Run(recipe, pixels)
        self.steps_per_epoch = len(self.halves.weights) // recipe.batch
        self.half = WEIGHTS
        self.register_buffer("step", torch.zeros((), dtype=torch.long))
        self.register_buffer("sums", torch.zeros(2, 2))

    @property
    def progress(self) -> float:
        """Share of the search's steps that are done."""
        return int(self.step) / (self.recipe.epochs * self.steps_per_epoch)

    def set_model(self, model: nn.Module) -> None:
        """Called by NNI with the mixed network."""
        super().set_model(model)
        self.to(memory_format=torch.channels_last)

    def chosen(self, half: str, step: int) -> Tensor:
        """Which images of a half the step takes, [B]."""
        r, stream = self.recipe, _STREAMS.index(half)
        epoch, i = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng((r.seed, 1 + stream, epoch)).permutation(len(self.halves.of(half)))
        return torch.from_numpy(order[i * r.batch : (i + 1) * r.batch])

    def batch(self, half: str, step: int) -> Tensor:
        """The step's images of a half, this process's share of them, each seen twice: [2B, 3, crop, crop]."""
        r = self.recipe
        count = r.batch // ranks.count()
        start = ranks.rank() * count
        pixels = self.halves.of(half)[self.chosen(half, step)[start : start + count]]
        generator = torch.Generator().manual_seed(r.seed * SEED_STRIDE + 2 * step + _STREAMS.index(half))
        return two_views(pixels.to(self.device), r.views, generator, start=start, of=r.batch)

    def loss(self, half: str, step: int) -> Tensor:
        """Of the mixed network on the step's images, those of all processes; the gradient reaches this one's alone."""
        groups = max(1, self.recipe.norm_groups // ranks.count())
        views = [view.chunk(groups) for view in self.batch(half, step).chunk(2)]
        seen = [self.model(torch.cat(group)).chunk(2) for group in zip(*views, strict=True)]
        sides = [ranks.gather(torch.cat(side)) for side in zip(*seen, strict=True)]
        return nt_xent(torch.cat(sides), self.recipe.temperature)

    def held_out(self) -> float:
        """The same on images that neither half sees."""
        r = self.recipe
        return held_out_loss(self.model, self.halves.held_out, r.views, batch=r.batch, temperature=r.temperature)

    def training_step(self, half: str, batch_idx: int) -> Tensor:
        """The loss, checked and added up."""
        self.half = half
        loss = self.loss(half, int(self.step))
        if not loss.isfinite():
            raise TrainingError(
                f"the loss is {float(loss.detach())} at step {int(self.step)}, on the half for the {half}; search anew"
                f" with lower learning rates than {self.recipe.lr:g} and {self.recipe.alpha_lr:g}"
            )
        self.sums[_STREAMS.index(half)] += torch.stack([loss.detach(), torch.ones_like(loss)])
        return loss

    def mean_losses(self) -> dict[str, float | None]:
        """Of the epoch, by half, None where it took no step; the next epoch starts afresh."""
        means = {
            half: total / count if count else None
            for half, (total, count) in zip(_STREAMS, self.sums.tolist(), strict=True)
        }
        self.sums.zero_()
        return means

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Of the weights; NNI takes the architecture's parameters out and gives them Adam."""
        r = self.recipe
        return torch.optim.SGD(self.model.parameters(), r.lr, momentum=r.momentum, weight_decay=r.weight_decay)


# ruff: noqa: N803, N806 - a tensor's name ends in its shape.


def two_views(
    pixels_NCHW: Tensor, settings: Views, generator: torch.Generator, *, start: int = 0, of: int | None = None
) -> Tensor:
    """Each image seen twice, [2N, 3, crop, crop]; all pass a network together, so they share batch statistics.

    Images that are a part of a batch, as ``views`` has it, are seen as they are there.
    """
    return torch.cat([views(pixels_NCHW, settings, generator, start=start, of=of) for _ in range(2)])


@torch.no_grad()
def held_out_loss(
    network: nn.Module,
    pixels_NCHW: Tensor,
    settings: Views,
    *,
    batch: int,
    temperature: float,
    seed: int = 0,
    passes: int = 1,
) -> float:
    """NT-Xent, mean over batches; with batch statistics, so that it asks nothing of running ones, and changes none.

    Args:
        network: [B, 3, H, W] -> projections [B, D].
        pixels_NCHW: uint8, at least a batch; an incomplete last batch is left out.
        settings: how they are seen.
        batch: images at a time, half as many as views; losses of different batch sizes cannot be compared.
        temperature: of the loss.
        seed: of everything random: the same seed shows every network the same views.
        passes: over the images, each with other views and other images together.
    """
    generator = torch.Generator().manual_seed(seed)
    device = next(network.parameters()).device
    whole = len(pixels_NCHW) // batch * batch
    losses = []
    with _batch_statistics(network), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # of what the network itself draws, as one that is mixed by Gumbel's softmax does
        for _ in range(passes):
            order = torch.randperm(len(pixels_NCHW), generator=generator)
            for chosen in torch.split(order[:whole], batch):
                x_BCHW = two_views(pixels_NCHW[chosen].to(device), settings, generator)
                losses.append(nt_xent(network(x_BCHW), temperature))
    return float(torch.stack(losses).mean())


@contextmanager
def _batch_statistics(network: nn.Module) -> Iterator[None]:
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d)]
    was_training = network.training
    network.train()
    try:
        for norm in norms:
            norm.track_running_stats = False
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
        network.train(was_training)
