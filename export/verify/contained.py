"""Run a stranger's graph in a process of its own, with bounds of ours on its time and memory.

A graph may hold a loop that never ends, or a constant of 32 GB that is folded while it is loaded. ``ContainedRunner``
is used like ``OnnxRunner``. Run as a program, this file is the child: it knows numpy and ONNX Runtime only.
"""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt

SECONDS = 60.0  # a graph of ours takes less than one
MEMORY_BYTES = 2 * 2**30  # a network of ours takes some hundred MB
# Activations of a call, in sizes of its input: a network's widest maps, alive at once, are below this.
_MEMORY_PER_INPUT = 256
_LENGTH = struct.Struct("<q")

Arrays = Mapping[str, npt.NDArray[Any]]


class GraphError(Exception):
    """A graph that cannot be loaded or run, or not within the bounds; the message is one line."""


class ContainedRunner:
    """ONNX Runtime on the CPU, in a child process.

    Args:
        path: of the ``.onnx`` or ``.ort`` file, all weights inside.
        seconds: that a call may take, loading included in the first.
        threads: of the runtime; no more than this machine has are started.
        memory_bytes: that the child may fill, besides 256 times its input. Linux alone enforces it.
        input_bytes: of the largest input it will be given.
    """

    def __init__(
        self,
        path: Path,
        *,
        seconds: float = SECONDS,
        threads: int = 1,
        memory_bytes: int = MEMORY_BYTES,
        input_bytes: int = 0,
    ) -> None:
        self._path, self._seconds = path, seconds
        self._threads = min(threads, os.cpu_count() or 1)
        self._memory_bytes = memory_bytes + _MEMORY_PER_INPUT * input_bytes

    def __enter__(self) -> Self:
        """Start the child, which loads the graph at the first call.

        Raises:
            GraphError: the graph needs more than its own file and the runtime's own operators.
        """
        if self._path.suffix == ".onnx":
            from export.errors import ExportError  # not at the top: the child knows nothing of this package
            from export.formats.onnx_file import check_self_contained

            try:
                check_self_contained(self._path)
            except ExportError as error:
                raise GraphError(str(error)) from None
        self._log = tempfile.TemporaryFile()
        words = [sys.executable, "-P", __file__, str(self._path), str(self._memory_bytes), str(self._threads)]
        # What a library would start besides the runtime's threads spins.
        env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=env)
        self._late = threading.Event()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the child."""
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout, self._log):
            try:
                pipe and pipe.close()
            except OSError:  # what was not flushed has no reader any more
                pass

    def run(self, inputs: Arrays) -> dict[str, npt.NDArray[Any]]:
        """The graph's outputs by name.

        Raises:
            GraphError: it does not load or run, or needs more time or memory than it may.
        """
        assert self._child.stdin is not None and self._child.stdout is not None
        timer = threading.Timer(self._seconds, self._stop)
        timer.start()
        try:
            _send(self._child.stdin, inputs)
            answer = _receive(self._child.stdout)
        except (OSError, EOFError):
            raise GraphError(self._why()) from None
        finally:
            timer.cancel()
        if "error" in answer and answer["error"].dtype.kind == "U":
            raise GraphError(str(answer["error"]))
        return {name.removeprefix("output "): value for name, value in answer.items()}

    def _stop(self) -> None:
        self._late.set()
        self._child.kill()

    def _why(self) -> str:
        code = self._child.wait()
        if self._late.is_set():
            return f"it did not end within {self._seconds:g} s"
        self._log.seek(0)
        last = (self._log.read().decode(errors="replace").strip().splitlines() or ["no word of why"])[-1]
        return f"the process that ran it within {self._memory_bytes / 2**30:.1f} GiB ended with {code}: {last[:200]}"


def _send(pipe: IO[bytes], arrays: Arrays) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **dict(arrays))  # type: ignore[arg-type]  # its own keyword is no array
    pipe.write(_LENGTH.pack(len(buffer.getvalue())) + buffer.getvalue())
    pipe.flush()


def _receive(pipe: IO[bytes]) -> dict[str, npt.NDArray[Any]]:
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (size,) = _LENGTH.unpack(head)
    content = pipe.read(size)
    if len(content) < size:
        raise EOFError
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _serve(path: str, memory_bytes: int, threads: int) -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limits; time is bounded there all the same
        pass
    else:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import onnxruntime

    pipe, sys.stdout = os.fdopen(os.dup(1), "wb"), sys.stderr
    session = None
    while True:
        try:
            inputs = _receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            if session is None:
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
                options.log_severity_level = 3
                session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            names = [output.name for output in session.get_outputs()]
            values = session.run(None, inputs)
            answer = {f"output {name}": np.asarray(value) for name, value in zip(names, values, strict=True)}
        except Exception as error:  # the runtime's errors share no base; the parent tells them
            answer = {"error": np.array(" ".join(str(error).split())[:500] or type(error).__name__)}
        _send(pipe, answer)


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
