"""Run an artefact on many images, in the batch sizes that it takes."""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from export.types import ExportTarget

if TYPE_CHECKING:
    from hardware_profiles.runners import Runner

Array = npt.NDArray[Any]

_DYNAMIC_SIZES = (2, 1, 4, 8, 16)
_LARGEST_SIZE = 32
# Two different sizes need this many images.
MIN_DYNAMIC_IMAGES = 3


def artefact_outputs(runner: Runner, images_NCHW: Array, target: ExportTarget) -> dict[str, Array]:
    """Return the artefact's outputs for all images, by name, each ``[N, ...]``.

    A dynamic batch is tried at 2, 1, 4, 8 ... 32 images, so that a batch size frozen into the graph shows. A static
    one gets its own size, the last batch filled up with copies of its last image.

    Args:
        runner: has the artefact loaded.
        images_NCHW: preprocessed images, float32.
        target: says which batches the artefact takes.
    """
    parts = [_run(runner, batch_NCHW, target) for batch_NCHW in _batches(images_NCHW, target)]
    return {name: _joined([part[name] for part in parts]) for name in parts[0]}


def _run(runner: Runner, batch_NCHW: Array, target: ExportTarget) -> dict[str, Array]:
    missing = 0 if target.dynamic_batch else target.input_nchw[0] - len(batch_NCHW)
    full_NCHW = np.concatenate([batch_NCHW, np.repeat(batch_NCHW[-1:], missing, axis=0)]) if missing else batch_NCHW
    outputs = runner.run({"input": np.ascontiguousarray(full_NCHW)})
    return {name: np.atleast_1d(output)[: len(batch_NCHW)] for name, output in outputs.items()}


def _joined(parts: Sequence[Array]) -> Array:
    """All rows; none, which equals no reference, where batches disagree about the shape of a row."""
    return np.concatenate(parts) if len({part.shape[1:] for part in parts}) == 1 else np.empty(0)


def _batches(images_NCHW: Array, target: ExportTarget) -> Iterator[Array]:
    growing = itertools.chain(_DYNAMIC_SIZES, itertools.repeat(_LARGEST_SIZE))
    sizes = growing if target.dynamic_batch else itertools.repeat(target.input_nchw[0])
    start = 0
    while start < len(images_NCHW):
        size = next(sizes)
        yield images_NCHW[start : start + size]
        start += size
