"""Features: pooled embeddings of many images by a frozen network."""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from search.images.views import center
from search.nets import Backbone
from search.recalibrate import batches, recalibrate

_BATCH = 64  # images of a pass


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What a network does to pixels: the side of its input, and the mean and deviation of a channel on 0..1."""

    size_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, pixels_NCHW: Tensor) -> Tensor:
        """uint8 [N, 3, S, S] -> float32 [N, 3, size_px, size_px]."""
        return center(pixels_NCHW, self.size_px, self.mean, self.std)


@torch.no_grad()
def embed(
    backbone: Backbone,
    pixels_NCHW: Tensor,
    preprocess: Preprocessing,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Pooled features of uint8 images [N, 3, S, S] -> [N, D], of a network in eval mode.

    Args:
        backbone: the network; it is left in channels_last.
        pixels_NCHW: the images.
        preprocess: how the network takes them.
        progress: called with (images done, images in all).
    """
    backbone.to(memory_format=torch.channels_last)
    features: list[Tensor] = []
    for batch_BCHW in torch.split(pixels_NCHW, _BATCH):
        features.append(backbone(preprocess(batch_BCHW)))
        if progress is not None:
            progress(min(_BATCH * len(features), len(pixels_NCHW)), len(pixels_NCHW))
    return torch.cat(features)


def recalibrate_on(backbone: Backbone, pixels_NCHW: Tensor, preprocess: Preprocessing, *, seed: int = 0) -> None:
    """Give a network statistics of as many images as a delivered one has, drawn from ``seed``; eval mode is left on."""
    backbone.to(memory_format=torch.channels_last)
    chosen = batches(len(pixels_NCHW), preprocess.size_px, preprocess.size_px, seed=seed)
    recalibrate(backbone, (preprocess(pixels_NCHW[rows]) for rows in chosen))
