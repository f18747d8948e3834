"""Processes: start the others that share a job with this one, and say in one line what became of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from search.errors import TrainingError, WriteFailed
from search.oneshot.job import Job, write_job
from search.oneshot.place import ALONE, Place
from search.oneshot.together import meeting

JOB, PIXELS, MEETING = "job.json", "pixels.npy", "meeting"
_PATIENCE_S = 10.0  # for a process to end after its connection broke


@contextmanager
def shared(job: Job, pixels: Tensor, count: int) -> Iterator[Place]:
    """The place of this process among ``count`` that do ``job``; the others are started, and are gone at the end.

    Args:
        job: what they do.
        pixels: uint8 [N, 3, S, S]; they read it from a file that lies in the job's folder meanwhile.
        count: of processes; one is this one.

    Raises:
        TrainingError: another process ended before its time.
        WriteFailed: no space for the images.
    """
    if count == 1:
        yield ALONE
        return
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory(dir=job.out, prefix=".processes-") as name:
        folder = Path(name)
        try:
            write_job(job, folder / JOB)
            np.save(folder / PIXELS, pixels.numpy())
        except OSError as error:
            raise WriteFailed(f"{folder} cannot be written ({error.strerror}); free some space") from error
        others = [_Other(folder, rank, count, max(1, threads // count)) for rank in range(1, count)]
        try:
            torch.set_num_threads(max(1, threads // count))
            for other in others:
                other.wait_until_ready()
            with meeting(place := Place(rank=0, count=count), folder / MEETING):
                yield place
        except BaseException as error:
            if isinstance(error, RuntimeError):  # a connection that broke, perhaps
                for other in others:
                    other.blame(error)
            for other in others:
                other.kill()
            raise
        finally:
            torch.set_num_threads(threads)
            for other in others:
                other.stop()


class _Other:
    """Another process."""

    def __init__(self, folder: Path, rank: int, count: int, threads: int) -> None:
        self._name = f"process {rank + 1} of {count}"
        self._ready, self._log = folder / f"ready{rank}", folder / f"log{rank}"
        command = [sys.executable, "-m", "search.oneshot.worker", str(folder), str(rank), str(count)]
        paths = [str(Path(__file__).parents[2]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        path = os.pathsep.join(part for part in paths if part)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(threads)},
            )

    def wait_until_ready(self) -> None:
        while not self._ready.exists():
            if self._process.poll() is not None:
                raise TrainingError(self._story())
            time.sleep(0.05)

    def blame(self, error: RuntimeError) -> None:
        """Raise TrainingError if this process ended otherwise than by finishing."""
        try:
            code = self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            return
        if code:
            raise TrainingError(self._story()) from error

    def kill(self) -> None:
        self._process.kill()

    def stop(self) -> None:
        """Wait for its end, which is near."""
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()

    def _story(self) -> str:
        code = self._process.returncode
        if code < 0:
            fate = f"was killed ({signal.Signals(-code).name}); free some memory or use fewer processes"
        else:
            lines = self._log.read_text("utf-8", "replace").splitlines()
            fate = f"failed ({lines[-1] if lines else f'exit code {code}'}); mend that or use fewer processes"
        return f"{self._name} {fate}, and resume"
