"""OpenVINO on the CPU; imported only where it is asked for."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import openvino  # type: ignore[import-not-found, import-untyped, unused-ignore]

from hardware_profiles.runners.runner import Arrays


class OpenVinoRunner:
    """OpenVINO on the CPU, one request at a time.

    Args:
        model: the ONNX file's path, or its bytes.
        threads: that share the work of one operator.
        precision: ``f32``, ``f16`` or ``bf16``, of the arithmetic; left to itself the runtime takes a shorter one
            than the model's where the processor has it. An int8 model is int8 whatever this says.
    """

    def __init__(self, model: Path | bytes, *, threads: int, precision: str = "f32") -> None:
        if threads < 1:
            raise ValueError(f"threads is {threads}; a runner needs at least 1")
        self._model = model
        self._settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": precision,
            "ENABLE_CPU_PINNING": False,  # pinned, two runs at once would sit on one core
        }
        self._compiled: Any = None  # kept between openings: compiling takes longer than timing
        self._request: Any = None
        self._outputs: list[str] = []

    def __enter__(self) -> Self:
        """Load and, the first time, compile the model."""
        if self._compiled is None:
            core = openvino.Core()
            model = core.read_model(self._model if isinstance(self._model, bytes) else str(self._model))
            self._compiled = core.compile_model(model, "CPU", self._settings)
            self._outputs = [output.get_any_name() for output in self._compiled.outputs]
        self._request = self._compiled.create_infer_request()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free its maps."""
        self._request = None

    def run(self, inputs: Arrays) -> Arrays:
        """See ``Runner``."""
        results = self._request.infer(dict(inputs), share_inputs=True)
        return {name: results[i] for i, name in enumerate(self._outputs)}


def openvino_version() -> str:
    """Its release, without the build's number."""
    return str(openvino.__version__).split("-")[0]


def computes_fp16() -> bool:
    """Whether this processor has fp16 arithmetic that the runtime uses."""
    return "FP16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
