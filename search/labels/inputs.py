"""Input: a picture as a network takes it, and where the picture's points lie in that."""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from search.images.read import to_letterbox, to_square, upright


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

    def normalized(self, pixels_CHW: Tensor) -> Tensor:
        """uint8 [3, H, W] -> float32 [3, H, W]."""
        mean, std = (torch.tensor(value)[:, None, None] for value in (self.mean, self.std))
        return (pixels_CHW.float() / 255 - mean) / std

    def read(self, image: Image.Image) -> tuple[Tensor, Placed]:
        """An opened picture -> float32 [3, H, W], and where the points of the upright picture lie in it."""
        image = upright(image)
        if self.fit == "letterbox":
            pixels_HWC, scale, (dx, dy) = to_letterbox(image, self.size_px)
        else:
            width, height = image.size
            side = min(width, height)
            scale = self.size_px[0] / side
            dx, dy = -round((width - side) // 2 * scale), -round((height - side) // 2 * scale)
            pixels_HWC = to_square(image, self.size_px[0])
        return self.normalized(torch.from_numpy(pixels_HWC).permute(2, 0, 1)), Placed(scale=scale, dx=dx, dy=dy)


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A point x of a picture lies at ``x * scale + dx`` of the input."""

    scale: float
    dx: int
    dy: int
