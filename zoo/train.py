"""Train a supernet or one network on a folder of images; nothing in the folder is lost or mixed up."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from search.images import read_images
from search.nets import NETS
from search.objectives import OBJECTIVES
from search.recipes import Recipe, Stage, recipe_for
from search.supernet import Supernet
from zoo.errors import BadRecipe, MissingExtra, OutputExists, UnknownName
from zoo.folders import check_free
from zoo.names import nearest, shown
from zoo.progress import Progress, Say, no_progress, silent, stage

CHECKPOINTS = "checkpoints"
# Crops are cut from images this many times larger than they are.
_OVERSIZE = 2


def recipe_of(
    *,
    net: str,
    objective: str | None,
    epochs: float | None,
    batch: int | None,
    seed: int,
    resolution_px: int | None,
    architecture: tuple[str | int, ...] | None = None,
) -> Recipe:
    """The objective's default recipe with what the user changed; without an objective, the one that suits the networks.

    Raises:
        UnknownName: no such net or objective.
        BadRecipe: numbers that cannot train.
    """
    objective = objective or ("mocov2" if architecture is None else "simclr")
    for kind, value, known in (("net", net, tuple(NETS)), ("objective", objective, tuple(OBJECTIVES))):
        if value not in known:
            raise UnknownName(f"no {kind} is called {shown(value)}; nearest: {', '.join(nearest(value, known))}")
    try:
        default = recipe_for(net, objective, architecture=architecture)
    except ValueError as error:
        raise BadRecipe(str(error)) from None
    stages, views, teacher_views = default.stages, default.views, default.teacher_views
    if resolution_px is not None:
        scale = resolution_px / default.resolution_px
        stages = tuple(Stage(until=s.until, crop_px=max(8, round(s.crop_px * scale))) for s in stages)
        views = replace(views, crop_px=resolution_px)
        teacher_views = teacher_views and replace(teacher_views, crop_px=resolution_px)
    batch = batch or default.batch
    queue = max(batch, default.queue // batch * batch) if default.queue else 0
    try:
        return replace(
            default,
            epochs=default.epochs if epochs is None else epochs,
            batch=batch,
            queue=queue,
            seed=seed,
            stages=stages,
            views=views,
            teacher_views=teacher_views,
        )
    except ValueError as error:
        raise BadRecipe(str(error)) from None


def train(
    recipe: Recipe,
    images: Path,
    out: Path,
    *,
    terms: str,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = no_progress,
    say: Say = silent,
) -> Supernet:
    """Train by ``recipe`` and write the supernet to ``out``.

    Args:
        recipe: how.
        images: the folder of images.
        out: the supernet's folder; checkpoints lie there, too.
        terms: on which the images may be used, for the card.
        resume: go on from the last checkpoint in ``out``.
        overwrite: delete an earlier run in ``out`` first.
        progress: called with (stage, done, all).
        say: receives one line for each thing that happened.

    Raises:
        OutputExists: ``out`` is not empty, and neither ``resume`` nor ``overwrite`` is given.
        NotEnoughImages: too few images can be read.
        MissingExtra: the training libraries are not installed.
    """
    if resume and overwrite:
        raise OutputExists("--resume continues a run and --overwrite deletes it; give one of them")
    if not resume:
        check_free(out, mark=CHECKPOINTS, overwrite=overwrite)
    try:
        from search.oneshot.training import pretrain
    except ModuleNotFoundError as error:
        raise MissingExtra(f'training needs {error.name}; pip install "subnet-zoo[search]"') from None
    read = read_images(images, size_px=_OVERSIZE * recipe.resolution_px, progress=stage(progress, "images"))
    say(f"{len(read.pixels)} images, {len(read.skipped)} skipped; {recipe.steps(len(read.pixels))} steps")
    if overwrite and out.is_dir():
        shutil.rmtree(out)
    data = {"folder": images.resolve().name, "terms": terms}
    return pretrain(
        recipe,
        read.pixels,
        out,
        name=out.resolve().name,
        data=data,
        resume=resume,
        progress=stage(progress, "train"),
    )
