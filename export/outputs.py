"""What a module returns, as named tensors: one tensor is ``embedding``, a dict or a named tuple keeps its names."""

# ruff: noqa: N803 - a tensor's name ends in its shape.

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from export.errors import UnusableInput
from hardware_profiles.torch_runner import TorchRunner

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
