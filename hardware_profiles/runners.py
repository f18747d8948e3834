"""Runners: a runtime with a model loaded, behind the smallest possible interface.

Runner (the interface) · OnnxRunner (ONNX Runtime on the CPU) · ScriptedRunner, ScriptedClock (a runtime and a clock
that do what a test says). ``torch_runner`` holds the one for torch modules, so that running ONNX never imports torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


class Runner(Protocol):
    """A model that can run while the ``with`` block around it is open."""

    def __enter__(self) -> Self:
        """Load the model."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free what was loaded."""

    def run(self, inputs: Arrays) -> Arrays:
        """Run once; arrays by the model's input names in, arrays by its output names out."""


class OnnxRunner:
    """ONNX Runtime on the CPU.

    Args:
        model: the ONNX file's path, or its bytes.
        threads: that share the work of one operator; operators run one after the other.

    Idle threads spin, as they do by default where the model will be deployed: keep one runner open at a time while
    timing with more than one thread, or the others' threads take its cores.
    """

    def __init__(self, model: Path | bytes, *, threads: int) -> None:
        if threads < 1:
            raise ValueError(f"threads is {threads}; a runner needs at least 1")
        self._model = model
        self._threads = threads
        self._session: Any = None

    def __enter__(self) -> Self:
        """Load the model."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3  # errors are raised; its warnings would reach the user's terminal
        model = self._model if isinstance(self._model, bytes) else str(self._model)
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
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


class ScriptedClock:
    """A clock, in nanoseconds, that moves only when told to."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        """The time."""
        return self.now_ns


class ScriptedRunner:
    """A fake runtime: a run returns ``outputs`` and moves ``clock`` by the next of ``durations_ns``, in a circle."""

    def __init__(self, outputs: Arrays, *, durations_ns: Sequence[int], clock: ScriptedClock) -> None:
        self._outputs = outputs
        self._durations_ns = itertools.cycle(durations_ns)
        self._clock = clock

    def __enter__(self) -> Self:
        """Nothing to load."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to free."""

    def run(self, inputs: Arrays) -> Arrays:
        """See ``Runner``; the inputs do not matter."""
        self._clock.now_ns += next(self._durations_ns)
        return {name: np.array(value) for name, value in self._outputs.items()}
