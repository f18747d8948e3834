"""Labelled images: a folder with one sub-folder a class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from search.errors import BadLabels
from search.images.read import Skipped, read_images

_SHOWN = 3  # files named in a message; the rest is counted


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """``pixels`` is uint8 RGB [N, 3, S, S]; ``labels`` [N] are positions in ``classes``, the sub-folders' names."""

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    skipped: tuple[Skipped, ...]


def read_labelled(
    folder: Path,
    *,
    size_px: int,
    classes: Sequence[str] | None = None,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Labelled:
    """Read a folder whose sub-folders are classes; each may hold its images at any depth.

    Images that lie in no sub-folder have no label and are skipped.

    Args:
        folder: of the classes.
        size_px: side of the square images that come back, in pixels.
        classes: those that may occur, in the order of their labels; None takes the ones that are there, sorted.
        limit: read at most this many images, evenly spread over the sorted list, so over the classes.
        progress: called with (files done, files in all).

    Raises:
        NotEnoughImages: the folder is missing, or has no image that can be read.
        BadLabels: there is no class, only one, or one that is not in ``classes``.
    """
    images = read_images(folder, size_px=size_px, min_images=1, min_different=2, limit=limit, progress=progress)
    places = [path.relative_to(folder).parts for path in images.paths]
    names = [place[0] if len(place) > 1 else None for place in places]
    found = sorted({name for name in names if name is not None})
    known = found if classes is None else list(classes)
    _check(folder, found, known)
    order = {name: label for label, name in enumerate(known)}
    strays = [path for path, name in zip(images.paths, names, strict=True) if name is None]
    stray = tuple(Skipped(path=path, reason="in no class's sub-folder") for path in strays)
    rows = [row for row, name in enumerate(names) if name is not None]
    return Labelled(
        pixels=images.pixels[rows] if stray else images.pixels,
        labels=torch.tensor([order[name] for name in names if name is not None]),
        classes=tuple(known),
        skipped=images.skipped + stray,
    )


def _check(folder: Path, found: Sequence[str], known: Sequence[str]) -> None:
    if not found:
        raise BadLabels(f"{folder} has no sub-folder with images; labelled images lie in one sub-folder a class")
    if len(known) < 2:
        raise BadLabels(f"{folder} has one class, {known[0]}; accuracy needs at least 2 sub-folders with images")
    if strange := [name for name in found if name not in known]:
        names = ", ".join(strange[:_SHOWN]) + (", ..." if len(strange) > _SHOWN else "")
        raise BadLabels(
            f"{folder} has {len(strange)} classes that the training images have not ({names}); give both folders the"
            " same sub-folders"
        )
