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
import torch.distributed as dist
from pytorch_lightning.plugins.environments import ClusterEnvironment
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor

from search.errors import TrainingError, WriteFailed
from search.oneshot.engine.job import Job, write_job
from search.oneshot.engine.place import ALONE, Place

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
        paths = [str(Path(__file__).parents[3]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
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


class Together(DDPStrategy):
    """Lightning's DDP without torch's wrapper, which refuses several backward passes in a step; a step adds gradients.

    Args:
        place: which process this is; the processes have met already.
    """

    def __init__(self, place: Place) -> None:
        super().__init__(cluster_environment=_Here(place))

    def configure_ddp(self) -> None:
        """Leave the module as it is."""


@contextmanager
def meeting(place: Place, file: Path) -> Iterator[None]:
    """Meet the other processes at ``file``, which must not exist before, and part at the end."""
    if torch.cuda.is_available():
        torch.cuda.set_device(place.rank)
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, init_method=file.as_uri(), rank=place.rank, world_size=place.count)
    try:
        yield
    finally:
        dist.destroy_process_group()


class _Here(ClusterEnvironment):
    """Processes of one machine that somebody else has started."""

    creates_processes_externally = True
    main_address, main_port = "localhost", 0  # they meet at a file

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place

    @staticmethod
    def detect() -> bool:
        """Only where it is asked for."""
        return False

    def world_size(self) -> int:
        """How many there are."""
        return self._place.count

    def set_world_size(self, size: int) -> None:
        """It is known."""

    def global_rank(self) -> int:
        """Which this is."""
        return self._place.rank

    def set_global_rank(self, rank: int) -> None:
        """It is known."""

    def local_rank(self) -> int:
        """There is one machine."""
        return self._place.rank

    def node_rank(self) -> int:
        """There is one machine."""
        return 0
