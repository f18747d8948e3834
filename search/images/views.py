"""Random views of a batch of images for self-supervised learning, and the fixed view for evaluation.

All operations act on the whole batch at once, on CPU or CUDA, in this order: random resized crop, flip, brightness,
contrast, saturation, hue, grayscale, blur, normalize. Every sample has its own parameters; all of them come from one
draw of the generator, so the same seed gives the same views.

References: MoCo v2 (Chen et al. 2020, arXiv:2003.04297), whose settings for 32 px images (no blur) are the defaults;
SimCLR (Chen et al. 2020, arXiv:2002.05709), appendix A, for the operations.

Why not a library's: with equal settings kornia makes about half as many views a second, torchvision v2 and lightly,
which draw once a call and so are called for each image, about a sixth, and none gives a part of a batch the views that
it has in the whole, which several processes need. Colors are torchvision's to 0.0001 of 255; all of this from
`benchmarks/augmentations.py`.

Symbols: N images, C = 3 channels, H and W pixels of height and width, K draws for each sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.


IMAGENET_MEAN = (0.485, 0.456, 0.406)  # torchvision's, with the next
IMAGENET_STD = (0.229, 0.224, 0.225)
_CROP_ATTEMPTS = 10  # torchvision's RandomResizedCrop, with its numbers of draws
_CROP_DRAWS = 2 * _CROP_ATTEMPTS + 2


@dataclass(frozen=True, kw_only=True)
class Views:
    """How random views are made.

    Args:
        crop_px: side of the views, in pixels.
        min_scale: smallest area of a crop, as a share of the image's.
        ratio: range of a crop's width / height.
        flip_p: probability of a horizontal flip.
        jitter: strength of brightness, contrast, saturation and hue; factors are drawn from ``1 - s .. 1 + s``, the
            hue's shift from ``-s .. s`` turns of the color circle.
        jitter_p: probability that a sample's colors are jittered.
        gray_p: probability of grayscale.
        blur_p: probability of a Gaussian blur.
        blur_sigma_px: range of the blur's standard deviation, in pixels.
        mean: subtracted from each channel, on the scale 0..1.
        std: each channel is divided by it, on the scale 0..1.
    """

    crop_px: int
    min_scale: float = 0.2
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip_p: float = 0.5
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)
    jitter_p: float = 0.8
    gray_p: float = 0.2
    blur_p: float = 0.0
    blur_sigma_px: tuple[float, float] = (0.1, 1.0)
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        """Refuse settings that make no view."""
        if self.crop_px < 1:
            raise ValueError(f"crop_px is {self.crop_px}; it must be at least 1")
        if not 0 < self.min_scale <= 1:
            raise ValueError(f"min_scale is {self.min_scale}; it must be above 0 and at most 1")
        for name, (low, high) in (("ratio", self.ratio), ("blur_sigma_px", self.blur_sigma_px)):
            if not 0 < low <= high:
                raise ValueError(f"{name} is ({low}, {high}); it must be 0 < low <= high")
        probabilities = {p: getattr(self, p) for p in ("flip_p", "jitter_p", "gray_p", "blur_p")}
        for name, p in probabilities.items():
            if not 0 <= p <= 1:
                raise ValueError(f"{name} is {p}; a probability is 0..1")
        *factors, hue = self.jitter
        if not (all(0 <= s <= 1 for s in factors) and 0 <= hue <= 0.5):
            raise ValueError(f"jitter is {self.jitter}; each must be 0..1, and the hue's at most 0.5")


@torch.no_grad()
def views(
    pixels_NCHW: Tensor, settings: Views, generator: torch.Generator, *, start: int = 0, of: int | None = None
) -> Tensor:
    """One random view of each image.

    Args:
        pixels_NCHW: uint8 RGB.
        settings: how the views are made.
        generator: source of all randomness. It may live on another device than the pixels: the draws, a few numbers
            a sample, are moved. A CPU generator gives the same views on every device.
        start: where the images are a part of a larger batch, the first one's place in it; they get the views that they
            would get there.
        of: that batch's size.

    Returns:
        Normalized float32 ``[N, 3, crop_px, crop_px]`` on the pixels' device, channels_last.

    Raises:
        ValueError: the pixels are not uint8.

    Example:
        >>> pixels = torch.zeros(8, 3, 64, 64, dtype=torch.uint8)
        >>> views(pixels, Views(crop_px=32), torch.Generator().manual_seed(0)).shape
        torch.Size([8, 3, 32, 32])
    """
    count = len(pixels_NCHW) if of is None else of
    draws_NK = torch.rand(count, _CROP_DRAWS + 9, generator=generator, device=generator.device)
    draws_NK = draws_NK[start : start + len(pixels_NCHW)].to(pixels_NCHW.device)
    crops_NK, others_NK = draws_NK[:, :_CROP_DRAWS], draws_NK[:, _CROP_DRAWS:]
    flip_N, jitter_N, brightness_N, contrast_N, saturation_N, hue_N, gray_N, blur_N, sigma_N = others_NK.unbind(1)

    boxes_N4 = _crop_boxes(crops_NK, settings, *pixels_NCHW.shape[-2:])
    x_NCHW = _crop(_unit(pixels_NCHW), boxes_N4, flip_N < settings.flip_p, settings.crop_px)
    jittered_N = jitter_N < settings.jitter_p
    draws = (brightness_N, contrast_N, saturation_N)
    for adjust, strength, u_N in zip((brightness, contrast, saturation), settings.jitter, draws, strict=False):
        if strength > 0 and settings.jitter_p > 0:
            x_NCHW = adjust(x_NCHW, torch.where(jittered_N, 1 + strength * (2 * u_N - 1), 1.0))
    if settings.jitter[3] > 0 and settings.jitter_p > 0:
        x_NCHW = hue(x_NCHW, torch.where(jittered_N, settings.jitter[3] * (2 * hue_N - 1), 0.0))
    if settings.gray_p > 0:
        x_NCHW = torch.where((gray_N < settings.gray_p)[:, None, None, None], gray(x_NCHW), x_NCHW)
    if settings.blur_p > 0:
        low_px, high_px = settings.blur_sigma_px
        x_NCHW = blur(x_NCHW, low_px + (high_px - low_px) * sigma_N, blur_N < settings.blur_p, high_px)
    return _normalize(x_NCHW, settings.mean, settings.std)


@torch.no_grad()
def center(
    pixels_NCHW: Tensor,
    size_px: int | tuple[int, int],
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
) -> Tensor:
    """The evaluation preprocessing, which model cards document.

    Divide by 255, resize until ``size_px`` is covered (bilinear, antialiased), crop the center, normalize.

    Args:
        pixels_NCHW: uint8 RGB.
        size_px: side of the result, or its height and width, in pixels.
        mean: subtracted from each channel, on the scale 0..1.
        std: each channel is divided by it, on the scale 0..1.

    Returns:
        Float32 ``[N, 3, height, width]`` on the pixels' device, channels_last.

    Raises:
        ValueError: the pixels are not uint8.
    """
    x_NCHW = _unit(pixels_NCHW)
    height_px, width_px = x_NCHW.shape[-2:]
    high, wide = (size_px, size_px) if isinstance(size_px, int) else size_px
    to_px, of_px = (high, height_px) if high * width_px >= wide * height_px else (wide, width_px)
    if to_px != of_px:
        resized = (height_px * to_px // of_px, width_px * to_px // of_px)
        x_NCHW = F.interpolate(x_NCHW, resized, mode="bilinear", antialias=True)
    top, left = (round((side - to) / 2) for side, to in zip(x_NCHW.shape[-2:], (high, wide), strict=True))
    return _normalize(x_NCHW[..., top : top + high, left : left + wide], mean, std)  # rounded as torchvision does


def _unit(pixels_NCHW: Tensor) -> Tensor:
    if pixels_NCHW.dtype != torch.uint8:
        raise ValueError(f"pixels are {pixels_NCHW.dtype}; they must be torch.uint8, 0..255")
    return pixels_NCHW.float().div_(255)


def _crop_boxes(draws_NK: Tensor, settings: Views, height_px: int, width_px: int) -> Tensor:
    """Left, top, width, height in pixels (not rounded): the first of ten tries that fits, else the largest center."""
    scale_NT = settings.min_scale + (1 - settings.min_scale) * draws_NK[:, :_CROP_ATTEMPTS]
    low, high = (math.log(r) for r in settings.ratio)
    ratio_NT = torch.exp(low + (high - low) * draws_NK[:, _CROP_ATTEMPTS : 2 * _CROP_ATTEMPTS])
    area_NT = height_px * width_px * scale_NT
    w_NT, h_NT = (area_NT * ratio_NT).sqrt(), (area_NT / ratio_NT).sqrt()
    fits_NT = (w_NT <= width_px) & (h_NT <= height_px)
    first_N1 = fits_NT.to(torch.uint8).argmax(dim=1, keepdim=True)
    fits_N = fits_NT.any(dim=1)
    whole_w = min(width_px, height_px * settings.ratio[1])
    whole_h = min(height_px, width_px / settings.ratio[0])
    w_N = torch.where(fits_N, w_NT.gather(1, first_N1)[:, 0], whole_w)
    h_N = torch.where(fits_N, h_NT.gather(1, first_N1)[:, 0], whole_h)
    left_N = (width_px - w_N) * torch.where(fits_N, draws_NK[:, -2], 0.5)
    top_N = (height_px - h_N) * torch.where(fits_N, draws_NK[:, -1], 0.5)
    return torch.stack((left_N, top_N, w_N, h_N), dim=1)


def _crop(x_NCHW: Tensor, boxes_N4: Tensor, flip_N: Tensor, crop_px: int) -> Tensor:
    """Resample each box to ``crop_px`` square; a box may shrink a lot, so several samples are averaged a pixel."""
    height_px, width_px = x_NCHW.shape[-2:]
    samples = min(4, math.ceil(max(height_px, width_px) / crop_px / 1.5))
    side = crop_px * samples
    left_N, top_N, w_N, h_N = boxes_N4.unbind(1)
    # affine_grid would multiply matrices, in reduced precision wherever TF32 or autocast is on.
    steps_S = (torch.arange(side, device=x_NCHW.device, dtype=torch.float32) + 0.5) / side
    u_NS = torch.where(flip_N[:, None], 1 - steps_S, steps_S)
    grid_x_NS = 2 * (left_N[:, None] + w_N[:, None] * u_NS) / width_px - 1
    grid_y_NS = 2 * (top_N[:, None] + h_N[:, None] * steps_S) / height_px - 1
    shape = (len(x_NCHW), side, side)
    grid_NSS2 = torch.stack((grid_x_NS[:, None, :].expand(shape), grid_y_NS[:, :, None].expand(shape)), dim=-1)
    sampled = F.grid_sample(x_NCHW, grid_NSS2, mode="bilinear", padding_mode="border", align_corners=False)
    return F.avg_pool2d(sampled, samples) if samples > 1 else sampled


def _normalize(x_NCHW: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    mean_C, std_C = (torch.tensor(value, device=x_NCHW.device)[:, None, None] for value in (mean, std))
    return ((x_NCHW - mean_C) / std_C).contiguous(memory_format=torch.channels_last)


# ruff: noqa: N803, N806 - a tensor's name ends in its shape.


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
