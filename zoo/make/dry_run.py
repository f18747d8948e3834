"""Dry run: what a training will cost, from some of its steps, before it is begun."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import torch

from search.images.feed import feed
from search.recipes import Recipe, Stage
from search.types import Cache
from zoo.errors import MissingExtra
from zoo.home import home_folder
from zoo.types import Progress, no_progress, stage

_STEPS, _WARM_UP = 20, 3  # the first ones of which are not timed


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Of a training on one device.

    Args:
        parameters: of the supernet with its projector.
        memory_bytes: the largest that a GPU, else this process, held.
        images_per_s: at the largest crops.
        steps: of the whole schedule.
        hours: that it takes; crops of other sizes are taken to cost in proportion to their pixels.
    """

    parameters: int
    memory_bytes: int
    images_per_s: float
    steps: int
    hours: float

    def told(self) -> str:
        """For people."""
        return (
            f"{self.parameters / 1e6:.1f} M parameters, {self.memory_bytes / 1e9:.1f} GB of memory a device,"
            f" {self.images_per_s:.0f} images/s from {_STEPS} steps; {self.steps} steps take {self.hours:.2g} hours"
            f" of one device ({self.hours / 24:.2g} days)"
        )


def dry_run(
    recipe: Recipe, images: Path, *, cache: Cache = "auto", workers: int = 1, progress: Progress = no_progress
) -> Estimate:
    """Take some steps at the recipe's largest crops, and keep nothing.

    Raises:
        NotEnoughImages, TrainingError: as ``zoo.make.pretrain.train``.
        MissingExtra: the training libraries are not installed.
    """
    try:
        from search.oneshot.pretrain import pretrain
    except ModuleNotFoundError as error:
        raise MissingExtra(f'training needs {error.name}; pip install "subnet-zoo[search]"') from None
    px = max(one.crop_px for one in recipe.stages)
    read = feed(
        images,
        size_px=2 * recipe.resolution_px,
        crop_px=px,
        cache=cache,
        folder=home_folder("images"),
        progress=stage(progress, "images"),
    )
    per_epoch = len(read.pixels) // recipe.batch
    short = replace(recipe, stages=(Stage(until=1.0, crop_px=px),), epochs=(_STEPS + 0.5) / max(1, per_epoch))
    ended_s: list[float] = []
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        made = pretrain(
            short,
            read.pixels,
            Path(folder),
            name="dry-run",
            data={},
            workers=workers,
            checkpoint_steps=10**9,
            devices=1,
            nodes=1,
            progress=lambda done, total: ended_s.append(time.perf_counter()),
        )
    step_s = float(np.median(np.diff(ended_s[_WARM_UP:-1])))  # the last one writes a checkpoint
    memory_bytes = torch.cuda.max_memory_allocated() if on_gpu else psutil.Process().memory_info().rss
    steps = recipe.steps(len(read.pixels))
    starts = [0.0, *(one.until for one in recipe.stages[:-1])]
    share = sum((one.until - a) * (one.crop_px / px) ** 2 for a, one in zip(starts, recipe.stages, strict=True))
    return Estimate(
        parameters=sum(tensor.numel() for tensor in made.weights.values()),
        memory_bytes=memory_bytes,
        images_per_s=recipe.batch / step_s,
        steps=steps,
        hours=steps * step_s * share / 3600,
    )
