"""Arrays: labelled pictures decoded once, before training, and what is known of a batch of them.

Whatever happens to the files afterwards, the training goes on. The pixels lie in files of their own, so that they never
fill the memory.
"""

# ruff: noqa: N806, N815 - a tensor's name ends in its shape.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from search.errors import BadLabels
from search.images.read import decoders, open_picture
from search.labels.checks import Told, read_mask
from search.labels.inputs import Input, Placed
from search.labels.samples import IGNORED, Sample, Samples


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """What is known of a batch of N images, of which the one with most objects has M.

    Args:
        labels_N: classes.
        boxes_NM4: x0, y0, x1, y1 in pixels of the input.
        labels_NM: of each box, -1 where an image has fewer.
        masks_NHW: classes of pixels.
    """

    labels_N: Tensor
    boxes_NM4: Tensor | None = None
    labels_NM: Tensor | None = None
    masks_NHW: Tensor | None = None

    def to(self, device: torch.device) -> Targets:
        """The same on another device."""
        moved: dict[str, Any] = {name: None if one is None else one.to(device) for name, one in vars(self).items()}
        return Targets(**moved)


@dataclass(frozen=True, kw_only=True, eq=False)
class Arrays:
    """Decoded samples.

    Args:
        samples: with their labels.
        how: their pictures were placed.
        pixels_NHWC: uint8, in a file.
        masks: of each sample, uint8 in its own pixels, or placed as its picture; in a file.
    """

    samples: Samples
    how: Input
    pixels_NHWC: NDArray[np.uint8]
    masks: Sequence[NDArray[np.uint8]] = ()

    def __len__(self) -> int:
        return len(self.samples.samples)

    @property
    def places(self) -> list[Placed]:
        """Where each picture lies."""
        return [self.how.place(one.size_px) for one in self.samples.samples]


def decode(
    samples: Samples,
    how: Input,
    folder: Path,
    name: str,
    *,
    placed_masks: bool = False,
    is_there: bool = False,
    told: Told,
) -> Arrays:
    """Read every picture, and every mask.

    Args:
        samples: labelled pictures.
        how: the pictures are placed.
        folder: for the files of pixels.
        name: of these files.
        placed_masks: place the masks as their pictures; they stay as they are otherwise.
        is_there: another process has done it, and the files are mapped as they are.
        told: called with (done, all).

    Raises:
        BadLabels: a file changed since it was checked.
    """
    rows, (height, width) = samples.samples, how.size_px
    pixels_NHWC = _file(folder / f"{name}.pixels", (len(rows), height, width, 3), is_there)
    areas = [height * width if placed_masks else one.size_px[0] * one.size_px[1] for one in rows if one.mask]
    ends = np.cumsum([0, *areas])
    flat = _file(folder / f"{name}.masks", (int(ends[-1]),), is_there) if areas else np.empty(0, np.uint8)
    shapes = [how.size_px if placed_masks else one.size_px[::-1] for one in rows]
    masks = [flat[a:b].reshape(shape) for a, b, shape in zip(ends[:-1], ends[1:], shapes, strict=False)]

    arrays = Arrays(samples=samples, how=how, pixels_NHWC=pixels_NHWC, masks=masks)
    if is_there:
        return arrays

    def read(i: int) -> None:
        one = rows[i]
        try:
            pixels_NHWC[i] = how.pixels(_opened(one))
            if one.mask is not None:
                mask_HW = read_mask(one.mask)
                masks[i][:] = how.mask(mask_HW, IGNORED) if placed_masks else mask_HW
        except (OSError, SyntaxError, ValueError) as error:
            raise BadLabels(f"{one.path} changed since it was checked ({error}); start again") from None

    with decoders() as pool:
        for done, _ in enumerate(pool.map(read, range(len(rows))), start=1):
            told(done, len(rows))
    return arrays


def _opened(one: Sample) -> Image.Image:
    with open_picture(one.path) as image:
        image.load()
        return image


def _file(path: Path, shape: tuple[int, ...], is_there: bool) -> NDArray[np.uint8]:
    return np.memmap(path, np.uint8, "r" if is_there else "w+", shape=shape)
