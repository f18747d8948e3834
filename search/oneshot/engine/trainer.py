"""Trainer: Lightning's, set up the same way for every kind of training here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from nni.nas.evaluator.pytorch import Trainer
from pytorch_lightning import Callback

from search.allocator import keep_memory
from search.errors import TrainingError
from search.machines import ONE, Machines, Together
from search.oneshot.engine.checkpoints import CheckpointFile
from search.oneshot.engine.schedule import Plan
from search.types import Compute, Logger

T = TypeVar("T")


def make_trainer(
    out: Path,
    callbacks: Sequence[Callback],
    *,
    precision: Compute,
    max_steps: int = -1,
    max_epochs: int = -1,
    machines: Machines = ONE,
    logger: Logger = "csv",
) -> Trainer:
    """Our checkpoints, Lightning's loggers where they are asked for; ``max_steps`` or ``max_epochs`` ends it."""
    keep_memory()
    return Trainer(
        max_steps=max_steps,
        max_epochs=max_epochs,
        accelerator="auto",
        devices=machines.devices,
        num_nodes=machines.nodes,
        strategy=Together() if machines.count > 1 else "auto",
        precision=_name_of(precision),
        logger=_logger(logger, out),
        enable_checkpointing=False,
        plugins=[CheckpointFile()],
        callbacks=list(callbacks),
        limit_val_batches=0,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=out,
    )


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


def require_logger(logger: Logger) -> None:
    """Raise ModuleNotFoundError where its library is not installed."""
    if logger != "csv" and find_spec(logger) is None:
        raise ModuleNotFoundError(f"no module called {logger}", name=logger)


def _logger(logger: Logger, out: Path) -> Any:
    """Lightning's; False where our own file is all."""
    if logger == "csv":
        return False
    from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger

    if logger == "tensorboard":
        return TensorBoardLogger(out, name="", version=logger)
    return WandbLogger(out.name, save_dir=out, project="subnet-zoo")


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
