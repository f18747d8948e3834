"""Dead leaves: images without a photographer, whose statistics are close to those of natural ones.

Discs fall on each other; their radii follow the power law that makes the result look alike at every scale (Lee,
Mumford and Huang, IJCV 2001). Networks even learn from such images (Baradad et al., NeurIPS 2021), so they serve where
statistics of natural images are needed and none are at hand.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_LEAVES = 40
_SMALLEST = 1 / 10  # radius, as a share of the side
_LARGEST = 0.8
# Spread of natural colors on the scale 0..1: much along gray, some along yellow-blue, little along green-purple.
_MEAN = np.array([0.48, 0.45, 0.40])
_AXES = np.array([[0.25, 0.25, 0.25], [0.07, 0.0, -0.08], [0.03, -0.05, 0.03]])


def dead_leaves(count: int, size_px: int, *, seed: int = 0) -> Tensor:
    """``count`` images, uint8 RGB [count, 3, size_px, size_px]; the same seed gives the same images.

    Example:
        >>> dead_leaves(4, 32).shape
        torch.Size([4, 3, 32, 32])
    """
    rng = np.random.default_rng(seed)
    y_H1, x_1W = np.meshgrid(np.linspace(0, 1, size_px), np.linspace(0, 1, size_px), indexing="ij", sparse=True)  # noqa: N806
    pixels_NHWC = np.broadcast_to(_MEAN, (count, size_px, size_px, 3)).astype(np.float32)  # noqa: N806
    low, high = _LARGEST**-2, _SMALLEST**-2
    for _ in range(_LEAVES):  # over leaves, all images at once
        radius = rng.uniform(low, high, count) ** -0.5  # density ~ radius^-3
        center = rng.uniform(-0.1, 1.1, (2, count))
        color = _MEAN + rng.standard_normal((count, 3)) @ _AXES
        slope = rng.normal(0, 0.15, (2, count, 1, 1))
        dy = y_H1[None] - center[0][:, None, None]
        dx = x_1W[None] - center[1][:, None, None]
        shade = (slope[0] * dy + slope[1] * dx)[..., None]
        inside = (dy**2 + dx**2 < radius[:, None, None] ** 2)[..., None]
        np.copyto(pixels_NHWC, (color[:, None, None] + shade).astype(np.float32), where=inside)
    noisy = pixels_NHWC + rng.normal(0, 0.02, pixels_NHWC.shape)
    return torch.from_numpy((noisy.clip(0, 1) * 255).astype(np.uint8)).permute(0, 3, 1, 2).contiguous()
