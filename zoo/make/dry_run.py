"""Dry run: what a training will cost, from some of its steps, before it is begun."""

from __future__ import annotations

import math
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
from search.supernet import Supernet
from search.types import Cache
from zoo.errors import MissingExtra, NotEnoughMemory
from zoo.home import home_folder
from zoo.types import Progress, no_progress, stage

_STEPS, _WARM_UP = 20, 3  # the first ones of which are not timed
_FEW = 32  # images of a step, and twice as many, tell what a large one will hold: Linux kills who takes too much


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
        NotEnoughMemory: a step would hold more than is free.
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
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()

    def held_bytes() -> int:
        return torch.cuda.max_memory_allocated() if on_gpu else psutil.Process().memory_info().rss

    def take(short: Recipe, steps: int) -> tuple[Supernet, list[float], int]:
        """What was trained, when each step ended, and the memory that is held then."""
        per_epoch = len(read.pixels) // short.batch
        ended_s: list[float] = []
        with tempfile.TemporaryDirectory() as folder:
            made = pretrain(
                replace(short, epochs=(steps + 0.5) / max(1, per_epoch)),
                read.pixels,
                Path(folder),
                name="dry-run",
                data={},
                running=replace(running, devices=1, nodes=1, checkpoint_steps=10**9, logger="csv", validate=None),
                progress=lambda done, total: ended_s.append(time.perf_counter()),
            )
        return made, ended_s, held_bytes()

    short = replace(recipe, teacher=None, stages=(Stage(until=1.0, crop_px=px),))
    if not on_gpu and recipe.batch // recipe.accumulate > 4 * _FEW:
        few = replace(short, accumulate=1, norm_groups=1)
        refuse_too_much(recipe, *(take(replace(few, batch=images), 2)[2] for images in (_FEW, 2 * _FEW)))
    made, ended_s, memory_bytes = take(short, _STEPS)
    step_s = float(np.median(np.diff(ended_s[_WARM_UP:-1])))  # the last one writes a checkpoint
    return estimate(
        recipe,
        steps=recipe.steps(len(read.pixels)),
        step_s=step_s,
        crop_px=px,
        parameters=sum(tensor.numel() for tensor in made.weights.values()),
        memory_bytes=memory_bytes,
    )


def refuse_too_much(recipe: Recipe, few_bytes: int, twice_bytes: int) -> None:
    """Refuse a recipe whose steps would hold more than is free, by what small steps hold."""
    an_image, free = (twice_bytes - few_bytes) / _FEW, psutil.virtual_memory().available
    part = recipe.batch // recipe.accumulate
    needed = an_image * (part - 2 * _FEW)
    if needed > free:
        parts = math.ceil(recipe.accumulate * needed / free)
        raise NotEnoughMemory(
            f"steps of {part} images would hold about {(twice_bytes + needed) / 1e9:.0f} GB on one device, and"
            f" {(twice_bytes + free) / 1e9:.0f} GB can be had; take fewer with --batch, or --accumulate"
            f" {1 << (parts - 1).bit_length()}"
        )
