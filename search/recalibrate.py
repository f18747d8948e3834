"""Recalibrate: give a subnet the batch-normalization statistics of its own features on the user's images.

A supernet's running statistics mix all its networks, so every subnet needs fresh ones (Yu et al., BigNAS, ECCV 2020;
papers on one-shot search agree). They are the plain average over all batches.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

# On 256 images of 224 px, k-NN and a linear classifier of rsscn7 find as many as on 2,048, within a third of a point.
_PIXELS = 2048 * 80**2
_FEWEST, _MOST, _BATCHES = 256, 2048, 16


@torch.no_grad()
def recalibrate(module: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace all running statistics by the average over the batches, and leave eval mode on.

    Args:
        module: with ``BatchNorm2d`` layers.
        batches: of normalized images, each [B, 3, H, W]; every batch weighs the same.

    Raises:
        ValueError: there is no batch.
    """
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    seen = 0
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # cumulative average
        module.train()
        for batch_BCHW in batches:  # noqa: N806
            module(batch_BCHW)
            seen += 1
    finally:
        module.eval()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    if not seen:
        raise ValueError("0 batches; statistics need at least 1")


def batches(images: int, height_px: int, width_px: int, *, seed: int = 0) -> tuple[Tensor, ...]:
    """Numbers of as many images as ``recalibrate`` needs: 2,048 up to 80 px, fewer larger ones.

    Args:
        images: how many there are, in any order: folders come class by class.
        height_px: of the network's input.
        width_px: of the network's input.
        seed: of the choice.

    Returns:
        Batches of even size, for one of a single image may have no variance.
    """
    enough = min(_MOST, max(_FEWEST, _PIXELS // (height_px * width_px)))
    few = torch.randperm(images, generator=torch.Generator().manual_seed(seed))[:enough]
    return few.tensor_split(max(1, -(-len(few) * _BATCHES // enough)))
