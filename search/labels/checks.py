"""Checks of pictures, boxes and masks before anything trains on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from search.images.read import decoders, open_picture
from search.labels.samples import IGNORED

# Annotation tools round to whole pixels.
_ROUNDING_PX = 1.0
# EXIF's tag of how a camera was held, and its values for on its side.
_ORIENTATION, _SIDEWAYS = 0x0112, (5, 6, 7, 8)
Told = Callable[[int, int], None]


def picture_sizes(paths: Sequence[Path], told: Told) -> Mapping[Path, tuple[int, int] | str]:
    """Width and height of each picture, upright; or why it does not decode to its end.

    Args:
        paths: files; each is decoded once, several at a time.
        told: called with (done, all).
    """
    found: dict[Path, tuple[int, int] | str] = {}
    with decoders() as pool:
        for path, size_px in zip(paths, pool.map(picture_size, paths), strict=True):
            found[path] = size_px
            told(len(found), len(paths))
    return found


def picture_size(path: Path) -> tuple[int, int] | str:
    """See ``picture_sizes``."""
    try:
        with open_picture(path) as image:
            image.load()
            width, height = image.size
            return (height, width) if image.getexif().get(_ORIENTATION) in _SIDEWAYS else (width, height)
    except Exception as error:  # decoders fail in many ways on damaged files
        return f"cannot be read as an image ({str(error).splitlines()[0] if str(error) else type(error).__name__})"


def box_fault(box_4: NDArray[np.float64], size_px: tuple[int, int]) -> str | None:
    """What is wrong with a box (x0, y0, x1, y1) in a picture of that width and height; None where nothing is."""
    x0, y0, x1, y1 = (float(value) for value in box_4)
    shown = f"box ({x0:g}, {y0:g}, {x1:g}, {y1:g})"
    if not np.isfinite(box_4).all():
        return f"{shown} is not of finite numbers"
    if x1 < x0 or y1 < y0:
        return f"{shown} is inverted"
    if x1 == x0 or y1 == y0:
        return f"{shown} is empty"
    width, height = size_px
    if min(x0, y0) < -_ROUNDING_PX or x1 > width + _ROUNDING_PX or y1 > height + _ROUNDING_PX:
        return f"{shown} reaches out of the picture of {width}x{height} px"
    return None


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Class indices [H, W] of a grey or palette file.

    Raises:
        ValueError: it has colors, or cannot be read.
    """
    try:
        with Image.open(path, formats=("PNG", "BMP", "TIFF")) as image:
            if image.mode not in ("L", "P", "1"):
                raise ValueError(f"is of mode {image.mode}; a mask is a grey or palette image of class indices")
            return np.array(image, dtype=np.uint8)
    except OSError as error:
        raise ValueError(f"cannot be read as a mask ({error})") from None


def mask_fault(path: Path, size_px: tuple[int, int], classes: int | None) -> tuple[str | None, set[int]]:
    """What is wrong with a mask, and the classes in it."""
    try:
        mask_HW = read_mask(path)  # noqa: N806
    except ValueError as error:
        return str(error), set()
    if mask_HW.shape != (size_px[1], size_px[0]):
        height, width = mask_HW.shape
        return f"is {width}x{height} px, its picture {size_px[0]}x{size_px[1]} px", set()
    there = {int(value) for value in np.unique(mask_HW)} - {IGNORED}
    if classes is not None and there and max(there) >= classes:
        return f"has class {max(there)}; there are {classes}, counted from 0", set()
    return None, there
