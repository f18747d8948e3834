"""Checkpoints: one file, replaced whole every so many steps, that continues only the run it was made by."""

from __future__ import annotations

import io
import json
import time
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.plugins.io import CheckpointIO
from torch import Tensor

from hardware_profiles.replace_file import replace_file
from search import ranks
from search.cells.recipe import DartsRecipe
from search.errors import TrainingError, WriteFailed
from search.images.feed import Pixels, checksum
from search.machines import EndWhenAsked
from search.recipes import Recipe

_KEY = "subnet_zoo"


class CheckpointFile(CheckpointIO):
    """Lightning's reading and writing of checkpoints, but whole or not at all, and with errors of one line."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write beside the destination, then replace; Lightning would write to the system's temporary folder.

        Raises:
            WriteFailed: the disk is full, for instance; the previous checkpoint is as it was.
        """
        whole = io.BytesIO()
        torch.save(checkpoint, whole)
        path = Path(path)
        try:
            replace_file(path, whole.getbuffer())
        except OSError as error:
            raise WriteFailed(
                f"{path} cannot be written ({error.strerror}); free {1 + (len(whole.getbuffer()) >> 20)} MiB and resume"
            ) from error

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Read tensors and plain values, never code.

        Raises:
            TrainingError: the file is damaged.
        """
        try:
            checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch and zipfile raise whatever the damaged byte leads them to
            raise TrainingError(f"{path} is damaged ({type(error).__name__}); delete it and train anew") from error
        return checkpoint

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete the file."""
        Path(path).unlink(missing_ok=True)


class KeepCheckpoint(EndWhenAsked):
    """Save to ``path`` every ``steps`` optimizer steps, after the last one, and when SIGTERM or Ctrl-C asks to end."""

    def __init__(self, path: Path, *, steps: int) -> None:
        super().__init__()
        self._path, self._steps = path, steps

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """See Lightning.

        Raises:
            Preempted: SIGTERM came.
            KeyboardInterrupt: Ctrl-C did.
        """
        step, last = trainer.global_step, trainer.global_step == trainer.max_steps
        asked = self.asked()
        if step % self._steps == 0 or last or asked:
            trainer.save_checkpoint(self._path)
        if asked and not last:
            self.end(f"asked to end after step {step}, which is in {self._path}; --resume goes on from there")


class Run:
    """What a checkpoint is marked with: it belongs to one recipe and one set of images.

    Args:
        recipe: how to train.
        pixels: uint8 [N, 3, S, S], in memory or not.
        start: name of the supernet that training starts from, where it starts from one.
    """

    def __init__(self, recipe: Recipe | DartsRecipe, pixels: Pixels, *, start: str | None = None) -> None:
        self.recipe: dict[str, Any] = _plain(asdict(recipe))
        self._defaults = _plain(asdict(type(recipe)()))
        self._start = start
        self.images = {"count": len(pixels), "crc32": checksum(pixels)}
        self._seconds_before = 0.0
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Spent on training so far, interruptions left out."""
        return self._seconds_before + time.perf_counter() - self._started

    def mark(self, checkpoint: dict[str, Any]) -> None:
        """Write the mark into a checkpoint."""
        checkpoint[_KEY] = {
            "recipe": self.recipe,
            "images": self.images,
            "start": self._start,
            "seconds": self.seconds,
        }

    def check(self, checkpoint: Mapping[str, Any], own: Mapping[str, Tensor]) -> None:
        """Refuse another run's checkpoint.

        Args:
            checkpoint: Lightning's.
            own: this run's state dict.

        Raises:
            TrainingError: recipe, images or shapes differ; the message names the first difference.
        """
        # A checkpoint without a mark can only be known by its shapes.
        mark = checkpoint.get(
            _KEY, {"recipe": self.recipe, "images": self.images, "start": self._start, "seconds": 0.0}
        )
        end = "resume with what it was made with, or train into another folder"
        for field, value in self.recipe.items():
            theirs = mark["recipe"].get(field, self._defaults.get(field))  # an older version had no such field
            if theirs != value:
                raise TrainingError(f"the checkpoint is of a recipe with {field} {theirs}, not {value}; {end}")
        if mark.get("start") != self._start:
            before, now = (f"one that started from {name or 'nothing'}" for name in (mark.get("start"), self._start))
            raise TrainingError(f"the checkpoint is of {before}, not of {now}; {end}")
        if mark["images"] != self.images:
            raise TrainingError(
                f"the checkpoint is of {mark['images']['count']} other images than these {self.images['count']}; {end}"
            )
        tensors = checkpoint["state_dict"]
        for name in sorted(tensors.keys() | own.keys()):
            if name not in tensors or name not in own or tensors[name].shape != own[name].shape:
                raise TrainingError(f"the checkpoint is of another network (it differs in {name}); {end}")
        self._seconds_before = mark["seconds"]


class Meet(Callback):
    """Before the first step of several processes: they must be at the same work, and begin with the same weights."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """See the class.

        Raises:
            TrainingError: recipes, images or steps behind them differ.
        """
        if ranks.count() == 1:
            return
        recipe, images = json.dumps(self._run.recipe), json.dumps(self._run.images)
        for what, text in (("recipe", recipe), ("images", images), ("checkpoint", str(trainer.global_step))):
            ranks.require_same(zlib.crc32(text.encode()), what)
        ranks.take_over([*module.parameters(), *module.buffers()])


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As a file gives them back: lists in the place of tuples."""
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain
