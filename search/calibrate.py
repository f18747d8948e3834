"""Recalibrate: give a subnet the batch-normalization statistics of its own features on the user's images.

A supernet's running statistics mix all its networks, so every subnet needs fresh ones (Yu et al., BigNAS, ECCV 2020;
papers on one-shot search agree). They are the plain average over all batches.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def recalibrate(module: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace all running statistics by the average over ``batches`` ([B, 3, H, W], normalized); leaves eval mode on."""
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
    module.train()
    for batch_BCHW in batches:  # noqa: N806
        module(batch_BCHW)
    module.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
