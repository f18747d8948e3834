"""One picture, in any of the forms people have it, as the pixels that a network was searched with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from search.images import to_square
from zoo.errors import UnreadableImage

Picture = str | Path | Image.Image | NDArray[Any]


def pixels_of(picture: Picture, size_px: int) -> Tensor:
    """uint8 RGB [3, size_px, size_px]: the same pixels that ``search.images.read_images`` reads.

    Raises:
        UnreadableImage: a file that cannot be decoded.
        ValueError: an array that is not uint8 [H, W, 3] or [H, W].
    """
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or not (picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)):
            raise ValueError(f"an array of {picture.dtype} {list(picture.shape)} is not uint8 [H, W, 3] or [H, W]")
        picture = Image.fromarray(picture)
    if isinstance(picture, Image.Image):
        return _pixels(picture, size_px)
    try:
        with Image.open(picture) as image:
            return _pixels(image, size_px)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableImage(f"{picture} cannot be read as an image: {error}") from None


def _pixels(image: Image.Image, size_px: int) -> Tensor:
    return torch.from_numpy(to_square(image, size_px)).permute(2, 0, 1)
