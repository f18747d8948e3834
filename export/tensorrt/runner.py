"""Run a TensorRT engine on the GPU of this machine, and time it there with CUDA events.

Device memory and streams are torch's. Source: NVIDIA TensorRT Python API reference, Runtime, ICudaEngine and
IExecutionContext.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

from export.errors import EngineRefused, InvalidGraph
from export.tensorrt.build import installed_backends, load_backend, quiet_logger
from export.tensorrt.engine_file import find_gpu, read_engine, rebuild_command
from hardware_profiles import Latency
from hardware_profiles.runners import Arrays

_DEVICE = "cuda"


class EngineRunner:
    """A ``Runner`` with an engine loaded; it checks all that ``read_engine`` checks first.

    Args:
        path: the engine, its sidecar beside it.
        onnx: the graph that it must have been built from, where that is known.
        trusted: the caller built this engine, or had it over a channel that nobody else can write to.
    """

    def __init__(self, path: Path, *, onnx: Path | None = None, trusted: bool = False) -> None:
        self._path = path
        self._onnx = onnx
        self._trusted = trusted
        self._buffers: dict[str, torch.Tensor] = {}

    def __enter__(self) -> Self:
        """Check and load the engine.

        Raises:
            EngineRefused: see ``read_engine``, or the library itself refuses the engine.
            MissingBackend: its library or a GPU is missing.
        """
        engine, content = read_engine(
            self._path,
            gpu=find_gpu(),
            installed=installed_backends(),
            onnx=self._onnx,
            trusted=self._trusted,
        )
        self._trt = load_backend(engine.backend)
        log = quiet_logger(self._trt)
        self._runtime = self._trt.Runtime(log)
        self._engine = self._runtime.deserialize_cuda_engine(content)
        if self._engine is None:
            reason = log.errors[0] if log.errors else "it did not say why"
            command = rebuild_command(engine, self._onnx)
            raise EngineRefused(f"{engine.backend} refuses {self._path}: {reason}; build it again: {command}")
        self._context = self._engine.create_execution_context()
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        self._inputs = [name for name in names if self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT]
        self._outputs = [name for name in names if name not in self._inputs]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the engine, the context before it, and the buffers."""
        self._buffers = {}
        self._context = self._engine = self._runtime = None

    def run(self, inputs: Arrays) -> Arrays:
        """See ``Runner``; copies to the GPU and back are part of it."""
        with torch.cuda.stream(self._stream):
            self.bind(inputs)
            self.enqueue()
            results = {name: self._buffers[name].cpu().numpy() for name in self._outputs}
        self._stream.synchronize()
        return results

    def bind(self, inputs: Arrays) -> None:
        """Copy the inputs to the GPU and make room for the outputs.

        Raises:
            InvalidGraph: another shape than the engine takes, or an output whose size depends on what it holds.
        """
        for name in self._inputs:
            tensor = torch.from_numpy(np.ascontiguousarray(inputs[name])).to(_DEVICE)
            if not self._context.set_input_shape(name, tuple(tensor.shape)):
                raise InvalidGraph(f"{self._path} takes no {name} of shape {tuple(tensor.shape)}; build it for that")
            self._hold(name, tensor)
        for name in self._outputs:
            shape = tuple(self._context.get_tensor_shape(name))
            if min(shape, default=1) < 0:
                raise InvalidGraph(
                    f"output {name!r} of {self._path} has no fixed size; leave that part out of the graph"
                )
            dtype = torch.from_numpy(np.empty(0, self._trt.nptype(self._engine.get_tensor_dtype(name)))).dtype
            self._hold(name, torch.empty(shape, dtype=dtype, device=_DEVICE))

    def enqueue(self) -> None:
        """Start one run on the bound inputs; it is finished when the stream is."""
        if not self._context.execute_async_v3(self._stream.cuda_stream):
            raise InvalidGraph(f"{self._path} could not be run; build it again for this GPU")

    def time(
        self,
        inputs: Arrays,
        *,
        rounds: int = 5,
        samples: int = 200,
        warmup: int = 20,
        event: Callable[..., Any] = torch.cuda.Event,
    ) -> Latency:
        """Time the engine alone, without copies, by an event on either side of each run.

        The runs of a round are queued one after the other, so that the GPU waits for the host only where the host
        cannot start a run in the time that one takes. That wait counts: without CUDA graphs, users wait for it, too.

        Args:
            inputs: by name, on the host.
            rounds: how many times to start over; the one with the smallest median counts.
            samples: runs of a round.
            warmup: runs before each round that are not timed.
            event: makes an event; a test brings its own.

        Returns:
            Median and 90th percentile of the quietest round, and the samples of all.
        """
        found = []
        with torch.cuda.stream(self._stream):
            self.bind(inputs)
            for _ in range(rounds):
                for _ in range(warmup):
                    self.enqueue()
                events = [event(enable_timing=True) for _ in range(samples + 1)]
                events[0].record(self._stream)
                for after in events[1:]:
                    self.enqueue()
                    after.record(self._stream)
                self._stream.synchronize()
                times_ms = [before.elapsed_time(after) for before, after in pairwise(events)]
                found.append(np.percentile(times_ms, [50, 90]))
        median_ms, p90_ms = min(found, key=lambda percentiles: float(percentiles[0]))
        return Latency(median_ms=float(median_ms), p90_ms=float(p90_ms), samples=rounds * samples)

    def _hold(self, name: str, tensor: torch.Tensor) -> None:
        """Keep a buffer alive for as long as the context may use it."""
        self._buffers[name] = tensor
        self._context.set_tensor_address(name, tensor.data_ptr())
