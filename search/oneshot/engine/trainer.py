"""Trainer: Lightning's, set up the same way for every kind of training here."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
import torch.distributed as dist
from nni.nas.evaluator.pytorch import Trainer
from pytorch_lightning import Callback, LightningModule
from pytorch_lightning.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

from search.errors import TrainingError, WriteFailed
from search.oneshot.compat import forget_children
from search.oneshot.engine.checkpoints import CheckpointFile
from search.oneshot.engine.ranks import Together
from search.oneshot.engine.schedule import ENDLESS, Plan
from search.types import Compute

T = TypeVar("T")
_PATIENCE_S = 30.0  # for a process to end when all is done


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


def started_by() -> Machines | None:
    """What torchrun or SLURM started; None where neither did."""
    if TorchElasticEnvironment.detect():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        return Machines(devices=devices, nodes=int(os.environ["WORLD_SIZE"]) // devices)
    if SLURMEnvironment.detect() and "SLURM_NTASKS" in os.environ:
        nodes = int(os.environ.get("SLURM_NNODES", "1"))
        return Machines(devices=int(os.environ["SLURM_NTASKS"]) // nodes, nodes=nodes)
    return None


def make_trainer(
    out: Path,
    callbacks: Sequence[Callback],
    *,
    precision: Compute,
    max_steps: int = -1,
    max_epochs: int = -1,
    machines: Machines = Machines(),
) -> Trainer:
    """Our checkpoints, no log of Lightning's own; ``max_steps`` or ``max_epochs`` ends it."""
    return Trainer(
        max_steps=max_steps,
        max_epochs=max_epochs,
        accelerator="auto",
        devices=machines.devices,
        num_nodes=machines.nodes,
        strategy=Together() if machines.count > 1 else "auto",
        precision=_name_of(precision),
        logger=False,
        enable_checkpointing=False,
        plugins=[CheckpointFile()],
        callbacks=list(callbacks),
        limit_val_batches=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=out,
    )


@contextmanager
def together(trainer: Trainer) -> Iterator[None]:
    """Around ``fit``: no process outlives the others, and one that breaks off is told of in one line.

    Raises:
        TrainingError: another process ended before its time.
    """
    try:
        yield
    except BaseException as error:
        for process in forget_children(trainer):
            process.send_signal(signal.SIGKILL)
            process.wait()
        if isinstance(error, RuntimeError) and (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise TrainingError(
                "another process ended before its time (killed, or out of memory); mend that, or use fewer --devices,"
                " and resume"
            ) from error
        raise
    for process in forget_children(trainer):
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()


def set_steps(trainer: Trainer, plan: Plan) -> None:
    """End where ``plan`` ends."""
    trainer.fit_loop.epoch_loop.max_steps = plan.steps


class Ticks(Generic[T]):
    """The steps of an epoch, in place of batches: a step's number decides its images.

    So there is no state to restore in the middle of an epoch, which is how Lightning asks for it.

    Args:
        steps: how many.
        tick: what stands in for each batch.
    """

    def __init__(self, steps: int, tick: T) -> None:
        self._steps, self._tick = steps, tick

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[T]:
        return iter([self._tick] * self._steps)

    def state_dict(self) -> dict[str, int]:
        """Nothing to keep."""
        return {}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Nothing to restore."""


class TellProgress(Callback):
    """Calls ``progress`` with (steps done, steps in all) after each step, once it is known how many they are."""

    def __init__(self, progress: Callable[[int, int], None]) -> None:
        self._progress = progress

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """See Lightning."""
        if trainer.max_steps < ENDLESS:
            self._progress(trainer.global_step, trainer.max_steps)


def _name_of(precision: Compute) -> str:
    """Lightning's name; bf16 only where the hardware multiplies it.

    Raises:
        TrainingError: fp16 without a GPU.
    """
    if precision == "fp16" and not torch.cuda.is_available():
        raise TrainingError("fp16 needs a GPU, and there is none; take bf16 or fp32")
    if precision == "auto":
        if torch.cuda.is_available():
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        return "bf16-mixed" if fast else "32-true"
    return {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[precision]


COLUMNS = ("step", "crop_px", "lr", "loss_largest", "loss_smallest", "loss_random", "spread", "rank")


class MetricsFile(Callback):
    """Appends what the module's ``metrics`` holds after each step to ``path``."""

    def __init__(self, path: Path, columns: Sequence[str] = COLUMNS) -> None:
        self._path, self._columns = path, columns

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Keep the lines of the steps before this one; a resumed run takes the others again.

        Raises:
            WriteFailed: the disk is full, for instance.
        """
        before = self._path.read_text("utf-8") if trainer.global_step and self._path.exists() else ""
        rows = [line for line in before.splitlines()[1:] if line.count(",") == len(self._columns) - 1]
        kept = [row for row in rows if int(row.split(",")[0]) < trainer.global_step]
        try:
            self._path.write_text("\n".join([",".join(self._columns), *kept, ""]), "utf-8")
        except OSError as error:
            raise self._failed(error) from error

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *args: Any, **kwargs: Any) -> None:
        """See Lightning.

        Raises:
            WriteFailed: the disk is full, for instance.
        """
        try:
            with self._path.open("a", encoding="utf-8", newline="") as file:
                csv.DictWriter(file, self._columns, lineterminator="\n").writerow(module.metrics)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> WriteFailed:
        return WriteFailed(f"{self._path} cannot be written ({error.strerror}); free some space, resume")
