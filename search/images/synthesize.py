"""Synthesize: images with the second-order statistics of a set that is not at hand.

Dead leaves have the edges and occlusions of natural images. Filtered along color axes, their spectra, colors and
contrasts become those of the set; the edges stay. Baradad et al. (NeurIPS 2021) found such images to be a good part of
the way from noise to photographs.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from search.images.statistics import ImageStatistics, frequencies, log_contrast, power_sum, radial

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.


_EPS = 1e-12  # against a division by 0 in flat images


def synthesize(statistics: ImageStatistics, count: int, size_px: int, *, seed: int = 0) -> Tensor:
    """``count`` images, uint8 RGB [count, 3, size_px, size_px]; the same arguments give the same images.

    They are made at the size that was measured and scaled down, or made larger, the spectrum continued as a power law.

    Example:
        >>> synthesize(statistics, 512, 32).shape  # doctest: +SKIP
        torch.Size([512, 3, 32, 32])
    """
    side_px = max(statistics.size_px, size_px)
    leaves_NCHW = dead_leaves(count, side_px, seed=seed).double() / 255
    shapes_NAHW = _colored(leaves_NCHW, statistics)
    axes_AC = torch.tensor(statistics.axes, dtype=torch.float64)
    x_NCHW = torch.einsum("nahw,ac->nchw", shapes_NAHW, axes_AC)
    x_NCHW = _contrasted(x_NCHW, statistics) + _mean_colors(statistics, count, seed)
    if side_px != size_px:
        x_NCHW = F.interpolate(x_NCHW, size=(size_px, size_px), mode="bilinear", antialias=True)
    return (x_NCHW.clamp(0, 1) * 255).round().to(torch.uint8)


def _colored(x_NCHW: Tensor, statistics: ImageStatistics) -> Tensor:
    """Along uncorrelated axes, filtered to the power of the set: [N, 3, S, S] without mean."""
    size_px = x_NCHW.shape[-1]
    x_NCHW = x_NCHW - x_NCHW.mean((2, 3), keepdim=True)
    flat_CP = x_NCHW.transpose(0, 1).flatten(1)
    own_AC = torch.linalg.eigh(flat_CP @ flat_CP.T).eigenvectors.T.flip(0)
    own_AC = own_AC * torch.where(own_AC.sum(1, keepdim=True) < 0, -1.0, 1.0)
    have = radial((power_sum(x_NCHW, own_AC) / len(x_NCHW)).numpy())
    want = np.stack([_continued(np.array(row), size_px // 2) for row in statistics.power])
    gain_ASS = np.stack([_at_frequencies(row, size_px) for row in np.sqrt(want / (have + _EPS))])
    y_NAHW = torch.einsum("nchw,ac->nahw", x_NCHW, own_AC)
    filtered: Tensor = torch.fft.ifft2(torch.fft.fft2(y_NAHW) * torch.from_numpy(gain_ASS)).real
    return filtered


def _contrasted(x_NCHW: Tensor, statistics: ImageStatistics) -> Tensor:
    """Each image's contrast moved so that their distribution is the set's."""
    have_N = log_contrast(x_NCHW)
    mean, std = statistics.contrast
    want_N = mean + std * (have_N - have_N.mean()) / have_N.std().clamp(min=_EPS)
    return x_NCHW * (want_N - have_N).exp()[:, None, None, None]


def _mean_colors(statistics: ImageStatistics, count: int, seed: int) -> Tensor:
    """A mean color for each image, [N, 3, 1, 1]."""
    rng = np.random.default_rng((seed, count))
    values, vectors = np.linalg.eigh(np.array(statistics.mean_covariance))
    spread = vectors * np.sqrt(values.clip(0))
    colors_N3 = np.array(statistics.mean) + rng.standard_normal((count, 3)) @ spread.T
    return torch.from_numpy(colors_N3)[:, :, None, None]


def _continued(power: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Power at 1 ... ``count`` cycles an image; beyond what was measured, the power law of its upper half."""
    known = len(power)
    if count <= known:
        return power[:count]
    f = np.arange(1, known + 1)
    half = slice(known // 2, None)
    slope, level = np.polyfit(np.log(f[half]), np.log(power[half] + _EPS), 1)
    return np.concatenate([power, np.exp(level + slope * np.log(np.arange(known + 1, count + 1)))])


def _at_frequencies(gain: NDArray[np.float64], size_px: int) -> NDArray[np.float64]:
    """Gains at 1, 2, ... cycles an image -> at each place of a spectrum, [S, S]; the last one holds beyond it."""
    return np.interp(frequencies(size_px), np.arange(1, len(gain) + 1), gain)


_LEAVES = 40  # more are hidden by others
_SMALLEST = 1 / 10  # radius, as a share of the side
_LARGEST = 0.8  # of the image's side
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
    y_H1, x_1W = np.meshgrid(np.linspace(0, 1, size_px), np.linspace(0, 1, size_px), indexing="ij", sparse=True)
    pixels_NHWC = np.broadcast_to(_MEAN, (count, size_px, size_px, 3)).astype(np.float32)
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
