"""ONNX Runtime, on the CPU or through any execution provider that is installed."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import onnxruntime

from hardware_profiles.runners.runner import Arrays

CPU = "CPUExecutionProvider"
_SUFFIX = "ExecutionProvider"
_ELSEWHERE = {"Azure"}  # sends the work to a service


class OnnxRunner:
    """ONNX Runtime.

    Args:
        model: the ONNX file's path, or its bytes.
        threads: that share the work of one operator; operators run one after the other.
        provider: the execution provider; what it cannot run falls to the CPU.

    Idle threads spin, as they do by default where the model will be deployed: keep one runner open at a time while
    timing with more than one thread, or the others' threads take its cores.
    """

    def __init__(self, model: Path | bytes, *, threads: int, provider: str = CPU) -> None:
        if threads < 1:
            raise ValueError(f"threads is {threads}; a runner needs at least 1")
        self._model = model
        self._threads = threads
        self._providers = [provider, *([CPU] if provider != CPU else [])]
        self._session: Any = None

    def __enter__(self) -> Self:
        """Load the model."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3  # errors are raised; its warnings would reach the user's terminal
        model = self._model if isinstance(self._model, bytes) else str(self._model)
        self._session = onnxruntime.InferenceSession(model, options, providers=self._providers)
        self._outputs = [output.name for output in self._session.get_outputs()]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the runtime's threads."""
        self._session = None

    def run(self, inputs: Arrays) -> Arrays:
        """See ``Runner``."""
        return dict(zip(self._outputs, self._session.run(None, inputs), strict=True))


def onnxruntime_version() -> str:
    """The version of the runtime that ``OnnxRunner`` uses."""
    return str(onnxruntime.__version__)


def provider_names() -> tuple[str, ...]:
    """The execution providers beside the CPU's that are installed, in short: ``cuda`` for CUDAExecutionProvider."""
    found = [name.removesuffix(_SUFFIX) for name in onnxruntime.get_available_providers() if name != CPU]
    return tuple(name.lower() for name in found if name not in _ELSEWHERE)


def provider_called(short: str) -> str:
    """The execution provider's own name."""
    names = (name for name in onnxruntime.get_available_providers() if name.removesuffix(_SUFFIX).lower() == short)
    return str(next(names))
