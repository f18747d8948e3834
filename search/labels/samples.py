"""Samples: labelled pictures of one task in one form, whatever files they came from."""

# ruff: noqa: N815 - a tensor's name ends in its shape.

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.errors import BadLabels
from search.images.read import Skipped
from search.types import Task

# Of a mask: pixels that nobody judges. The value that Pascal VOC and Cityscapes use.
IGNORED = 255


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """A picture and what is known of it; labels are positions in ``Samples.classes``.

    Args:
        path: of the picture.
        size_px: its width and height, upright.
        label: of a picture that shows one class.
        boxes_M4: x0, y0, x1, y1 in pixels of the picture, float32.
        labels_M: of each box.
        mask: a file of class indices, as large as the picture; ``IGNORED`` where nothing is known.
    """

    path: Path
    size_px: tuple[int, int]
    label: int = -1
    boxes_M4: NDArray[np.float32] | None = None
    labels_M: NDArray[np.int64] | None = None
    mask: Path | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Labelled pictures, all of which can be read; ``skipped`` were left out."""

    task: Task
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    skipped: tuple[Skipped, ...] = ()


class Faults:
    """What is wrong with a data set: the first fault ends it, or all are left out and counted.

    Args:
        skip: leave out.
    """

    def __init__(self, *, skip: bool) -> None:
        self._skip = skip
        self.found: list[Skipped] = []

    def add(self, path: Path, reason: str) -> None:
        """Note a fault of a file.

        Raises:
            BadLabels: faults are not to be skipped.
        """
        if not self._skip:
            raise BadLabels(f"{path}: {reason}; mend it, or leave such out with --skip")
        self.found.append(Skipped(path=path, reason=reason))
