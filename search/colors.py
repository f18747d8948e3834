"""Color operations and blur on a batch of images, each sample with a strength of its own.

Images are float ``[N, 3, H, W]`` on the scale 0..1, and so are the results. Every operation agrees with torchvision's
on one image, which the tests check.

Symbols: N images, C = 3 channels, H and W pixels of height and width, S taps of a kernel.
"""
# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def brightness(x_NCHW: Tensor, factor_N: Tensor) -> Tensor:
    """Multiply by each sample's factor; 0 is black."""
    return (x_NCHW * _per_sample(factor_N)).clamp_(0, 1)


def contrast(x_NCHW: Tensor, factor_N: Tensor) -> Tensor:
    """Move away from (factor above 1) or toward the mean luma of the sample."""
    return _blend(x_NCHW, gray(x_NCHW).mean(dim=(1, 2, 3), keepdim=True), factor_N)


def saturation(x_NCHW: Tensor, factor_N: Tensor) -> Tensor:
    """Move away from (factor above 1) or toward each pixel's own luma; 0 is grayscale."""
    return _blend(x_NCHW, gray(x_NCHW), factor_N)


def hue(x_NCHW: Tensor, turns_N: Tensor) -> Tensor:
    """Shift the hue in HSV space by a share of a full turn."""
    r, g, b = x_NCHW.unbind(1)
    value = x_NCHW.amax(dim=1)
    chroma = value - x_NCHW.amin(dim=1)
    safe = torch.where(chroma > 0, chroma, 1.0)
    sixths = torch.where(value == r, (g - b) / safe, torch.where(value == g, (b - r) / safe + 2, (r - g) / safe + 4))
    sixths = sixths + 6 * turns_N[:, None, None]
    # Back to RGB by the closed form: channel n is V - C * clamp(min(k, 4 - k), 0, 1) with k = (n + 6 hue) mod 6.
    offsets = torch.tensor((5.0, 3.0, 1.0), device=x_NCHW.device)[None, :, None, None]
    k_NCHW = torch.remainder(sixths[:, None] + offsets, 6)
    ramp_NCHW = torch.minimum(k_NCHW, 4 - k_NCHW).clamp_(0, 1)
    return value[:, None] - chroma[:, None] * ramp_NCHW


def gray(x_NCHW: Tensor) -> Tensor:
    """Luma of ITU-R BT.601, ``[N, 1, H, W]``."""
    r, g, b = x_NCHW.unbind(1)
    return (0.2989 * r).add_(g, alpha=0.587).add_(b, alpha=0.114)[:, None]


def blur(x_NCHW: Tensor, sigma_px_N: Tensor, blurred_N: Tensor, max_sigma_px: float) -> Tensor:
    """Separable Gaussian; samples that are not blurred get the kernel that changes nothing."""
    n, c, height_px, width_px = x_NCHW.shape
    radius = min(math.ceil(3 * max_sigma_px), height_px - 1, width_px - 1)
    offsets = torch.arange(-radius, radius + 1, device=x_NCHW.device, dtype=torch.float32)
    kernel_NS = torch.exp(-0.5 * (offsets / sigma_px_N[:, None]) ** 2)
    kernel_NS = torch.where(blurred_N[:, None], kernel_NS / kernel_NS.sum(dim=1, keepdim=True), (offsets == 0).float())
    weight = kernel_NS.repeat_interleave(c, dim=0)[:, None]
    x = F.pad(x_NCHW, (radius,) * 4, mode="reflect").reshape(1, n * c, height_px + 2 * radius, width_px + 2 * radius)
    with torch.autocast(x.device.type, enabled=False):
        x = F.conv2d(x, weight[:, :, None, :], groups=n * c)
        x = F.conv2d(x, weight[:, :, :, None], groups=n * c)
    return x.reshape(n, c, height_px, width_px)


def _blend(x_NCHW: Tensor, other: Tensor, factor_N: Tensor) -> Tensor:
    return torch.lerp(other, x_NCHW, _per_sample(factor_N)).clamp_(0, 1)


def _per_sample(value_N: Tensor) -> Tensor:
    return value_N[:, None, None, None]
