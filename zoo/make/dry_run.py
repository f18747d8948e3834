"""Dry run: what a training will cost, from some of its steps, before it is begun."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import torch

from search.images.feed import feed
from search.recipes import Recipe, Stage
from search.running import ALONE, Estimate, Running, estimate
from search.types import Cache
from zoo.errors import MissingExtra
from zoo.home import home_folder
from zoo.types import Progress, no_progress, stage

_STEPS, _WARM_UP = 20, 3  # the first ones of which are not timed


def dry_run(
    recipe: Recipe,
    images: Path,
    *,
    cache: Cache = "auto",
    running: Running = ALONE,
    progress: Progress = no_progress,
) -> Estimate:
    """Take some steps at the recipe's largest crops on one device, and keep nothing; an outside teacher is left out.

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
    short = replace(
        recipe, teacher=None, stages=(Stage(until=1.0, crop_px=px),), epochs=(_STEPS + 0.5) / max(1, per_epoch)
    )
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
            running=replace(running, devices=1, nodes=1, checkpoint_steps=10**9, logger="csv", validate=None),
            progress=lambda done, total: ended_s.append(time.perf_counter()),
        )
    step_s = float(np.median(np.diff(ended_s[_WARM_UP:-1])))  # the last one writes a checkpoint
    memory_bytes = torch.cuda.max_memory_allocated() if on_gpu else psutil.Process().memory_info().rss
    return estimate(
        recipe,
        steps=recipe.steps(len(read.pixels)),
        step_s=step_s,
        crop_px=px,
        parameters=sum(tensor.numel() for tensor in made.weights.values()),
        memory_bytes=memory_bytes,
    )
