"""A torch module on the GPU, recorded once as a CUDA graph: no launch overhead is timed, as in a deployed engine."""

from __future__ import annotations

import copy
from types import TracebackType
from typing import Literal, Self

import torch
from torch import Tensor, nn

from hardware_profiles.runners.runner import Arrays

_WARM_UP = 3  # runs before the recording, in which libraries choose their kernels


class TorchCudaRunner:
    """A copy of a torch module on the GPU.

    Args:
        module: takes one tensor and returns one, called ``output``.
        precision: of weights, activations and arithmetic; fp32 is fp32 (no TF32).
        fetch: bring the outputs back; False leaves inputs and outputs on the GPU, as where it is timed, and returns
            nothing.
    """

    def __init__(self, module: nn.Module, *, precision: Literal["fp32", "fp16"] = "fp32", fetch: bool = True) -> None:
        self._module = module
        self._dtype = torch.float16 if precision == "fp16" else torch.float32
        self._fetch = fetch
        self._loaded: nn.Module | None = None
        self._graph: torch.cuda.CUDAGraph | None = None

    def __enter__(self) -> Self:
        """Copy the module to the GPU, channels last."""
        self._tf32 = torch.backends.cudnn.allow_tf32
        torch.backends.cudnn.allow_tf32 = False
        loaded = copy.deepcopy(self._module).eval()
        self._loaded = loaded.to("cuda", self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the copy and the recording."""
        torch.backends.cudnn.allow_tf32 = self._tf32
        self._loaded = self._graph = None

    def run(self, inputs: Arrays) -> Arrays:
        """See ``Runner``; ``inputs`` holds one array, under any name. The first run records the graph."""
        if self._graph is None:
            self._record(inputs)
        assert self._graph is not None
        if self._fetch:
            self._input.copy_(_tensor(inputs))
        self._graph.replay()
        torch.cuda.synchronize()
        return {"output": self._output.float().cpu().numpy()} if self._fetch else {}

    def _record(self, inputs: Arrays) -> None:
        assert self._loaded is not None, "run() belongs inside the with block"
        self._input = _tensor(inputs).to("cuda", self._dtype).contiguous(memory_format=torch.channels_last)
        graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        with torch.inference_mode():
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP):
                    self._loaded(self._input)
            torch.cuda.current_stream().wait_stream(side)
            with torch.cuda.graph(graph):
                self._output: Tensor = self._loaded(self._input)
        self._graph = graph


def _tensor(inputs: Arrays) -> Tensor:
    (images,) = inputs.values()
    return torch.from_numpy(images)


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
