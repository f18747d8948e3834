"""Watch: callbacks that tell of a training as it goes on: a file of numbers, loggers, progress, what it will take."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from search.errors import WriteFailed
from search.oneshot.engine.schedule import ENDLESS
from search.recipes import Recipe
from search.running import estimate

COLUMNS = ("step", "crop_px", "lr", "loss_largest", "loss_smallest", "loss_random", "spread", "rank")
_TIMED, _WARM_UP = 20, 3  # steps that an estimate is made of, and that it leaves out before


class TellProgress(Callback):
    """Calls ``progress`` with (steps done, steps in all) after each step, once it is known how many they are."""

    def __init__(self, progress: Callable[[int, int], None]) -> None:
        self._progress = progress

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """See Lightning."""
        if trainer.max_steps < ENDLESS:
            self._progress(trainer.global_step, trainer.max_steps)


class TellCost(Callback):
    """Says once, after the first steps, what the whole run takes; of a run of a given time there is nothing to say."""

    def __init__(self, recipe: Recipe, say: Callable[[str], None]) -> None:
        self._recipe, self._say = recipe, say
        self._ended_s: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *args: Any, **kwargs: Any) -> None:
        """See Lightning."""
        if len(self._ended_s) > _TIMED or trainer.max_steps >= ENDLESS:
            return
        self._ended_s.append(time.perf_counter())
        if len(self._ended_s) <= _TIMED:
            return
        on_gpu = torch.cuda.is_available()
        found = estimate(
            self._recipe,
            steps=int(trainer.max_steps),
            step_s=float(np.median(np.diff(self._ended_s[_WARM_UP:]))),
            crop_px=int(module.metrics["crop_px"]),
            parameters=sum(p.numel() for p in module.parameters() if p.requires_grad),
            memory_bytes=torch.cuda.max_memory_allocated() if on_gpu else psutil.Process().memory_info().rss,
            devices=int(trainer.world_size),
        )
        self._say(found.told())


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
        """See Lightning."""
        self.add(module.metrics)

    def add(self, row: dict[str, Any]) -> None:
        """Append a line.

        Raises:
            WriteFailed: the disk is full, for instance.
        """
        try:
            with self._path.open("a", encoding="utf-8", newline="") as file:
                csv.DictWriter(file, self._columns, lineterminator="\n").writerow(row)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> WriteFailed:
        return WriteFailed(f"{self._path} cannot be written ({error.strerror}); free some space, resume")


class ToLoggers(Callback):
    """Hands the module's ``metrics`` to Lightning's loggers after each step."""

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *args: Any, **kwargs: Any) -> None:
        """See Lightning."""
        known = {name: value for name, value in module.metrics.items() if name != "step" and value is not None}
        for logger in trainer.loggers:
            logger.log_metrics(known, step=module.metrics["step"])
