"""A runner for torch modules: the reference that every exported artefact is compared with."""

from __future__ import annotations

import copy
from types import TracebackType
from typing import Self

import torch
from torch import nn

from hardware_profiles.runners import Arrays


class TorchRunner:
    """A copy of a torch module on the CPU in fp32 and eval mode.

    Args:
        module: takes one tensor and returns one, called ``output``, or a dict of tensors by name.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._loaded: nn.Module | None = None

    def __enter__(self) -> Self:
        """Copy the module, so that the caller's keeps its mode and its device."""
        self._loaded = copy.deepcopy(self._module).to("cpu", torch.float32).eval()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the copy."""
        self._loaded = None

    def run(self, inputs: Arrays) -> Arrays:
        """See ``Runner``; ``inputs`` holds one array, under any name."""
        assert self._loaded is not None, "run() belongs inside the with block"
        (images,) = inputs.values()
        with torch.inference_mode():
            outputs = self._loaded(torch.from_numpy(images))
        named = outputs if isinstance(outputs, dict) else {"output": outputs}
        return {name: tensor.numpy() for name, tensor in named.items()}
