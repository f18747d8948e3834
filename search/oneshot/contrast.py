"""Contrast: the contrastive loss of a network on a batch, and on images that did not train it."""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from search.objectives import nt_xent
from search.views import Views, views


def two_views(pixels_NCHW: Tensor, settings: Views, generator: torch.Generator) -> Tensor:
    """Each image seen twice, [2N, 3, crop, crop]; all pass a network together, so they share batch statistics."""
    return torch.cat([views(pixels_NCHW, settings, generator) for _ in range(2)])


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
