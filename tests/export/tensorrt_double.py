"""A library with TensorRT's interface whose engines are the ONNX bytes, run by ONNX Runtime on the host.

Its public methods are a part of the real library's, which a test compares where that is installed.
"""

from __future__ import annotations

import ctypes
import enum
import math
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime

from export.tensorrt.engine_file import Gpu

__version__ = "11.4.0.106"
GPU = Gpu(name="NVIDIA L4", compute_capability="sm89", driver="580.95.05")


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = "internal", "error", "warning", "info", "verbose"


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class BuilderFlag(enum.Enum):
    TF32 = "tf32"


class TensorIOMode(enum.Enum):
    INPUT, OUTPUT = 1, 2


class INetworkDefinition:
    def __init__(self) -> None:
        self._inputs: list[SimpleNamespace] = []

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    def get_input(self, index: int) -> SimpleNamespace:
        return self._inputs[index]


class OnnxParser:
    def __init__(self, network: INetworkDefinition, log: Any) -> None:
        self._network = network
        self.num_errors = 0

    def parse(self, model: bytes) -> bool:
        graph = onnx.load_from_string(model).graph
        self._network.content = model
        self._network._inputs = [
            SimpleNamespace(name=i.name, shape=tuple(d.dim_value or -1 for d in i.type.tensor_type.shape.dim))
            for i in graph.input
        ]
        return True

    def get_error(self, index: int) -> Any:
        raise IndexError(index)


class ITimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content


class IOptimizationProfile:
    def set_shape(self, input: str, min: tuple, opt: tuple, max: tuple) -> None:
        self.shapes = {input: (min, opt, max)}


class IBuilderConfig:
    def __init__(self) -> None:
        self.flags, self.profiles, self.cache = {BuilderFlag.TF32}, [], None

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags.discard(flag)

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self.profiles.append(profile)
        return 0

    def create_timing_cache(self, content: bytes) -> ITimingCache:
        return ITimingCache(content)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if cache.content.startswith(b"another GPU"):
            return False
        self.cache = cache
        return True


class Builder:
    refuses: ClassVar[str] = ""
    last_config: ClassVar[IBuilderConfig | None] = None

    def __init__(self, log: Any) -> None:
        self._log = log

    def create_network(self, flags: int) -> INetworkDefinition:
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        Builder.last_config = IBuilderConfig()
        return Builder.last_config

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytes | None:
        if Builder.refuses:
            self._log.log(ILogger.ERROR, Builder.refuses)
            self._log.log(ILogger.ERROR, "catchCudaError: no driver")
            return None
        if config.cache is not None:
            config.cache.content += b"+timed"
        return network.content


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine, self._shapes, self._addresses = engine, {}, {}
        self.runs = 0

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        wanted = self._engine._specs[name].shape
        self._shapes[name] = shape
        return len(wanted) == len(shape) and all(
            isinstance(w, str) or w == s for w, s in zip(wanted, shape, strict=True)
        )

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        batch = next(iter(self._shapes.values()))[0]
        first, *rest = self._engine._specs[name].shape
        return (batch if isinstance(first, str) else first, *(-1 if isinstance(size, str) else size for size in rest))

    def set_tensor_address(self, name: str, address: int) -> None:
        self._addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        self.runs += 1
        inputs = {name: self._array(name, shape) for name, shape in self._shapes.items()}
        names = [name for name in self._engine._specs if name not in inputs]
        for name, result in zip(names, self._engine._session.run(names, inputs), strict=True):
            self._array(name, result.shape)[...] = result
        return True

    def _array(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        buffer = (ctypes.c_float * math.prod(shape)).from_address(self._addresses[name])
        return np.frombuffer(buffer, np.float32).reshape(shape)


class ICudaEngine:
    def __init__(self, content: bytes) -> None:
        self._session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        self._inputs = [value.name for value in self._session.get_inputs()]
        self._specs = {v.name: v for v in (*self._session.get_inputs(), *self._session.get_outputs())}

    @property
    def num_io_tensors(self) -> int:
        return len(self._specs)

    def get_tensor_name(self, index: int) -> str:
        return list(self._specs)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> str:
        return "float32"

    def create_execution_context(self) -> IExecutionContext:
        return IExecutionContext(self)


class Runtime:
    loaded: ClassVar[list[bytes]] = []

    def __init__(self, log: Any) -> None:
        self._log = log

    def deserialize_cuda_engine(self, content: bytes) -> ICudaEngine | None:
        Runtime.loaded.append(content)
        if content == b"junk":
            self._log.log(ILogger.ERROR, "Serialization assertion failed.\nTwo lines")
            return None
        return ICudaEngine(content)


def nptype(dtype: str) -> type:
    return np.dtype(dtype).type
