"""Metrics: the loss curve as a CSV file, one line a step, that a resumed run continues as if nothing had happened."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from search.errors import WriteFailed

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
