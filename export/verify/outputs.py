"""What a module returns, as named tensors: one tensor is ``embedding``, a dict or a named tuple keeps its names."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from export.errors import UnusableInput
from export.types import ExportTarget
from hardware_profiles.runners.torch_runners import TorchRunner

if TYPE_CHECKING:
    from hardware_profiles.runners import Runner

# ruff: noqa: N803 - a tensor's name ends in its shape.


# Larger batches are slower on a CPU: their maps fall out of the cache.
_BATCH, _LARGE_BATCH, _LARGE_PX = 8, 2, 64


class NamedOutputs(nn.Module):
    """``module`` with its outputs by name.

    Args:
        module: returns one tensor ``[N, ...]``, or several by name (a dict or a named tuple), e.g. ``p2`` to ``p5``.
            The names ``embedding``, ``logits``, ``boxes`` with ``scores``, and ``masks`` are compared by what they
            mean, too.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images_NCHW: Tensor) -> dict[str, Tensor]:
        """Return the outputs by name; ``UnusableInput`` for anything that ONNX could not name."""
        returned = self.module(images_NCHW)
        if isinstance(returned, Tensor):
            return {"embedding": returned}
        if isinstance(returned, tuple) and hasattr(returned, "_asdict"):
            returned = returned._asdict()
        if isinstance(returned, Mapping) and returned:
            if all(isinstance(name, str) and isinstance(output, Tensor) for name, output in returned.items()):
                return dict(returned)
        kind = type(returned).__name__
        raise UnusableInput(f"the module returns {kind}; return a tensor or a dict of tensors by name")


def torch_outputs(module: nn.Module, images_NCHW: Tensor) -> dict[str, npt.NDArray[Any]]:
    """Return the outputs by name, each ``[N, ...]``, of a copy of ``module`` (eval, fp32, on the CPU) for all images.

    Raises:
        UnusableInput: the module returns something else, or an output without a row for each image.
    """
    images = images_NCHW.detach().cpu().numpy()
    batch = _BATCH if max(images.shape[-2:]) <= _LARGE_PX else _LARGE_BATCH
    with TorchRunner(NamedOutputs(module)) as runner:
        parts = [runner.run({"input": images[start : start + batch]}) for start in range(0, len(images), batch)]
    count = min(batch, len(images))
    for name, output in parts[0].items():
        if output.shape[:1] != (count,):
            shape = list(output.shape)
            raise UnusableInput(f"output {name!r} has shape {shape} for {count} images; return a row for each image")
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


# ruff: noqa: N803, N806 - a tensor's name ends in its shape.


Array = npt.NDArray[Any]

_DYNAMIC_SIZES = (2, 1, 4, 8, 16)  # batches that a dynamic graph is tried with, an odd order first
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
