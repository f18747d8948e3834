"""Machines: the processes that share a training, on Lightning, which starts them: how they meet, and how they end.

What Lightning 2.6 does otherwise than is wanted; tests/search/test_compat.py holds a test for each.

- It logs what it found and an advertisement to stderr, and asks ``isinstance(spec, LeafSpec)`` of torch's deprecated
  class, which warns; NNI logs to stdout, which is for data, and repeats each failure there: ``quiet``.
- Its thread that watches the processes it started kills all with SIGKILL when one ends with an error, also the one that
  is about to say which: ``forget_children``.
- It answers Ctrl-C with ``sys.exit(1)``, as if training had failed: ``interruptible``.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import subprocess
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from pytorch_lightning.strategies import DDPStrategy

from search import ranks
from search.errors import Preempted, ProcessLost, TrainingError

_PATIENCE_S = 30.0  # for a process to end when all is done
_CHATTY = ("nni", "pytorch_lightning", "lightning_fabric")


@dataclass(frozen=True, kw_only=True)
class Machines:
    """The processes that share a training.

    Args:
        devices: of each machine; a process each.
        nodes: machines.
    """

    devices: int = 1
    nodes: int = 1

    @property
    def count(self) -> int:
        """Processes in all."""
        return self.devices * self.nodes


ONE = Machines()


def started_by() -> Machines | None:
    """What torchrun or SLURM started; None where neither did."""
    if TorchElasticEnvironment.detect():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        return Machines(devices=devices, nodes=int(os.environ["WORLD_SIZE"]) // devices)
    if SLURMEnvironment.detect() and "SLURM_NTASKS" in os.environ:
        nodes = int(os.environ.get("SLURM_NNODES", "1"))
        return Machines(devices=int(os.environ["SLURM_NTASKS"]) // nodes, nodes=nodes)
    return None


def machines_for(devices: int | None, nodes: int | None) -> Machines:
    """What is asked for, else what started this process, else one device.

    Raises:
        TrainingError: they contradict each other.
    """
    started = started_by() or Machines()
    asked = Machines(devices=devices or started.devices, nodes=nodes or started.nodes)
    if started.count > 1 and asked != started:
        raise TrainingError(
            f"{started.devices} processes on each of {started.nodes} machines were started, and {asked.devices} on each"
            f" of {asked.nodes} are asked for; leave --devices and --nodes out, or start as many"
        )
    return asked


class Together(DDPStrategy):
    """Lightning's DDP, its launchers and cluster environments included, without torch's wrapper: ``search.ranks``."""

    def configure_ddp(self) -> None:
        """Leave the module as it is."""


@contextmanager
def together(trainer: Trainer) -> Iterator[None]:
    """Around ``fit``: no process outlives the others, and one that breaks off is told of in one line.

    Where all goes well the processes stay for the next training of the same program, and end with it.

    Raises:
        ProcessLost: another process ended before its time, or had ended before.
    """
    if any(process.poll() is not None for process in _children):
        raise ProcessLost("the processes that shared an earlier training have ended; train in a new program")
    try:
        yield
    except BaseException as error:
        for process in forget_children(trainer):
            process.send_signal(signal.SIGKILL)
            process.wait()
        if isinstance(error, RuntimeError) and (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise ProcessLost(
                "another process ended before its time (killed, or out of memory); mend that, or use fewer --devices,"
                " and resume"
            ) from error
        raise
    atexit.unregister(_end)
    atexit.register(_end, forget_children(trainer))


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()


# Of all trainings of this program: its later ones are shared by the processes that Lightning started for the first.
_children: list[subprocess.Popen[bytes]] = []


def children(trainer: Any) -> list[subprocess.Popen[bytes]]:
    """The processes that Lightning started for ``trainer`` and before."""
    _children.extend(one for one in getattr(trainer.strategy.launcher, "procs", ()) if one not in _children)
    return _children


def forget_children(trainer: Any) -> list[subprocess.Popen[bytes]]:
    """The same, no longer watched by it."""
    for thread in threading.enumerate():
        if thread.name == "child-process-observer":
            thread._child_processes = []  # type: ignore[attr-defined]
    return children(trainer)


class EndWhenAsked(Callback):
    """End after the step in which SIGTERM or Ctrl-C came, after the same one in all processes, whichever was asked.

    A second Ctrl-C does not wait for it.
    """

    def __init__(self) -> None:
        self._asked = 0

    def on_train_start(self, trainer: Trainer, *args: Any) -> None:
        """Take Lightning's place, whose handler speaks to the other ranks in the middle of a step; it restores ours."""

        def asked(signum: int, frame: Any) -> None:
            if self._asked == signum == signal.SIGINT:
                raise KeyboardInterrupt
            if not self._asked and signum == signal.SIGTERM:  # a terminal sends Ctrl-C to all by itself
                for process in children(trainer):
                    process.send_signal(signum)
            self._asked = signum

        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGTERM, signal.SIGINT):
                signal.signal(signum, asked)

    def asked(self) -> bool:
        """Whether any process was; a step of all of them."""
        return ranks.any_of(self._asked != 0)

    def end(self, told: str) -> None:
        """Raise KeyboardInterrupt where Ctrl-C came, and Preempted with ``told`` where not."""
        if self._asked == signal.SIGINT:
            raise KeyboardInterrupt
        raise Preempted(told)


@contextmanager
def quiet() -> Iterator[None]:
    """Let only warnings and errors of NNI and Lightning through; NNI's are none: an exception carries each of them."""
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL if logger.name == "nni" else logging.WARNING)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn Lightning's exit after Ctrl-C back into KeyboardInterrupt."""
    try:
        yield
    except SystemExit as exit:
        if isinstance(exit.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
