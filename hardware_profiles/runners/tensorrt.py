"""TensorRT: an engine built from ONNX on the GPU that it runs on, and kept in memory only.

Networks are strongly typed (TensorRT 10 and later): the precision is the ONNX file's. torch lends the GPU's memory.
Engines that users deploy are built, and guarded against foreign ones, by the package ``export``.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from hardware_profiles.errors import MeasureFailed
from hardware_profiles.runners.runner import Arrays

if find_spec("tensorrt") is not None:
    import tensorrt as trt  # type: ignore[import-not-found, import-untyped, unused-ignore]
else:
    import tensorrt_rtx as trt  # type: ignore[import-not-found, import-untyped, unused-ignore]


class TensorRtRunner:
    """TensorRT, or TensorRT for RTX.

    Args:
        model: the ONNX file's path, or its bytes; all shapes fixed.
        fetch: bring the outputs back; False leaves inputs and outputs on the GPU, as where it is timed, and returns
            nothing.
    """

    def __init__(self, model: Path | bytes, *, fetch: bool = True) -> None:
        self._model = model
        self._fetch = fetch
        self._plan: Any = None  # kept between openings: building takes seconds
        self._context: Any = None
        self._tensors: dict[str, torch.Tensor] = {}
        self._full = False

    def __enter__(self) -> Self:
        """Build the engine, the first time, and load it."""
        content = self._model if isinstance(self._model, bytes) else self._model.read_bytes()
        self._plan = self._plan or build_plan(content)
        self._engine = trt.Runtime(_logger()).deserialize_cuda_engine(self._plan)
        self._context = self._engine.create_execution_context()
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        for name in names:
            shape = tuple(self._context.get_tensor_shape(name))
            self._tensors[name] = torch.empty(shape, dtype=_DTYPES[self._engine.get_tensor_dtype(name)], device="cuda")
            self._context.set_tensor_address(name, self._tensors[name].data_ptr())
        self._outputs = [n for n in names if self._engine.get_tensor_mode(n) == trt.TensorIOMode.OUTPUT]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the engine and its memory."""
        self._context = self._engine = None
        self._tensors, self._full = {}, False

    def run(self, inputs: Arrays) -> Arrays:
        """See ``Runner``."""
        if self._fetch or not self._full:
            for name, array in inputs.items():
                self._tensors[name].copy_(torch.from_numpy(array))
            torch.cuda.synchronize()
            self._full = True
        self._context.execute_async_v3(self._stream.cuda_stream)
        self._stream.synchronize()
        return {name: self._tensors[name].cpu().numpy() for name in self._outputs} if self._fetch else {}


def build_plan(onnx: bytes) -> Any:
    """The serialized engine of an ONNX file.

    Raises:
        MeasureFailed: TensorRT cannot parse or build it.
    """
    logger = _logger()
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx):
        raise MeasureFailed(f"TensorRT cannot read the ONNX file: {parser.get_error(0).desc()}")
    plan = builder.build_serialized_network(network, builder.create_builder_config())
    if plan is None:
        raise MeasureFailed("TensorRT could not build an engine for this GPU; try --runtime torch-cuda")
    return plan


def tensorrt_name() -> str:
    """``tensorrt`` or ``tensorrt_rtx``, whichever is used."""
    return str(trt.__name__)


def tensorrt_version() -> str:
    """The version of the library that is used."""
    return str(trt.__version__)


def _logger() -> Any:
    return trt.Logger(trt.Logger.ERROR)


_DTYPES = {trt.float32: torch.float32, trt.float16: torch.float16, trt.int8: torch.int8, trt.int32: torch.int32}
