"""Input: a picture as a network takes it, and where the picture's points lie in that."""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from search.images.read import to_letterbox, to_square, upright


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A point x of a picture lies at ``x * scale + dx`` of the input; the picture is ``inner_px`` wide and high there.

    ``inner_px`` is what lies inside the input: a cropped picture fills it.
    """

    scale: float
    dx: int
    dy: int
    inner_px: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Input:
    """How a picture becomes a network's input: letterboxed or cropped to size, then (x / 255 - mean) / std.

    Args:
        size_px: height and width.
        mean: of red, green and blue.
        std: of red, green and blue.
        fit: ``crop`` the center square, or ``letterbox`` the whole.
    """

    size_px: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fit: str

    def normalized(self, pixels_NHWC: NDArray[np.uint8]) -> Tensor:
        """uint8 [N, H, W, 3] -> float32 [N, 3, H, W]."""
        mean, std = (torch.tensor(value)[:, None, None] for value in (self.mean, self.std))
        return (torch.from_numpy(pixels_NHWC).permute(0, 3, 1, 2).float() / 255 - mean) / std

    def pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        """An opened picture -> uint8 [H, W, 3]."""
        if self.fit == "letterbox":
            return to_letterbox(image, self.size_px)[0]
        return to_square(image, self.size_px[0])

    def place(self, full_px: tuple[int, int]) -> Placed:
        """Where a picture of that width and height, upright, lies."""
        (width, height), (full_w, full_h) = self.size_px[::-1], full_px
        if self.fit == "letterbox":
            scale = min(width / full_w, height / full_h)
            inner_px = max(1, round(full_w * scale)), max(1, round(full_h * scale))
            return Placed(scale=scale, dx=(width - inner_px[0]) // 2, dy=(height - inner_px[1]) // 2, inner_px=inner_px)
        side = min(full_px)
        scale = self.size_px[0] / side
        dx, dy = (-round((full - side) // 2 * scale) for full in full_px)
        return Placed(scale=scale, dx=dx, dy=dy, inner_px=(width, height))

    def mask(self, mask_HW: NDArray[np.uint8], fill: int) -> NDArray[np.uint8]:
        """A picture's mask as its letterboxed input shows it: the nearest of each position, ``fill`` around it."""
        placed = self.place(mask_HW.shape[::-1])
        found_HW = np.full(self.size_px, fill, np.uint8)
        (w, h), (dx, dy) = placed.inner_px, (placed.dx, placed.dy)
        inner = Image.fromarray(mask_HW).resize((w, h), Image.Resampling.NEAREST)
        found_HW[dy : dy + h, dx : dx + w] = np.asarray(inner)
        return found_HW

    def read(self, image: Image.Image) -> tuple[Tensor, Placed, tuple[int, int]]:
        """An opened picture -> float32 [3, H, W]; where its points lie in it; its width and height, upright."""
        whole = upright(image)
        return self.normalized(self.pixels(whole)[None])[0], self.place(whole.size), whole.size
