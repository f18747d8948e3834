"""Features: pooled embeddings of many images by a frozen network."""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from search.images.views import center
from search.nets import Backbone
from search.recalibrate import recalibrate

_BATCH = 64  # images of a pass
# As many as a delivered network is recalibrated on.
_CALIBRATION_IMAGES, _CALIBRATION_BATCH = 2048, 128


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
    """Give a network statistics of at most 2,048 of the images, drawn from ``seed``, and leave it in eval mode."""
    backbone.to(memory_format=torch.channels_last)
    order = torch.randperm(len(pixels_NCHW), generator=torch.Generator().manual_seed(seed))[:_CALIBRATION_IMAGES]

    def batches() -> Iterator[Tensor]:  # of even size: one of a single image may have no variance
        for rows in order.tensor_split(-(-len(order) // _CALIBRATION_BATCH)):
            yield preprocess(pixels_NCHW[rows])

    recalibrate(backbone, batches())
