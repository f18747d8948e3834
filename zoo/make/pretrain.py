"""Train a supernet or one network on a folder of images; nothing in the folder is lost or mixed up."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

from search.data_checkpoints import read_gaia
from search.first import is_first
from search.images.feed import Pixels, feed
from search.nets import NETS
from search.objectives import OBJECTIVES
from search.recipes import QUEUED, Recipe, Stage, recipe_for
from search.running import ALONE, Running
from search.supernet import CARD, Supernet, SupernetCard, save_supernet
from search.teachers import Outside, outside
from search.types import Cache, Compute
from zoo.checks import Count, Positive, Seed
from zoo.errors import BadRecipe, MissingExtra, OutputExists, UnknownName
from zoo.home import home_folder
from zoo.make.settings import with_settings
from zoo.names import nearest, shown
from zoo.package.staging import check_free
from zoo.plots import CURVE_PNG, VALIDATION_PNG, plot_curve, plot_validation
from zoo.progress import Watch, watching
from zoo.supernets import DEFAULT_NET, read_supernet
from zoo.types import Progress, Say, no_progress, stage, tell

CHECKPOINTS = "checkpoints"
_EXTRAS = {"datasets": "data", "timm": "teachers", "transformers": "teachers", "wandb": "wandb"}
# Crops are cut from images this many times larger than they are.
_OVERSIZE = 2


class Changes(TypedDict, total=False):
    """Fields of a recipe that a user may set, as ``search.recipes.Recipe`` explains them."""

    lr: float
    precision: Compute
    accumulate: int
    norm_groups: int
    random_subnets: int
    slow_start: float
    distill: float
    loss_weights: tuple[float, float, float]
    teacher: str
    teacher_weight: float


def recipe_of(
    *,
    net: str | None,
    objective: str | None,
    epochs: float | None,
    batch: int | None,
    seed: int,
    resolution_px: int | None,
    architecture: tuple[str | int, ...] | None = None,
    start: SupernetCard | None = None,
    changes: Changes | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Recipe:
    """The objective's default recipe with what the user changed; without an objective, the one that suits the networks.

    Where training starts from a supernet, that says what the user does not. ``settings`` are fields as
    ``zoo.make.settings`` reads them; what has an argument of its own is taken from there first.

    Raises:
        UnknownName: no such net or objective.
        BadRecipe: numbers that cannot train, or another net than that of the supernet to start from.
    """
    given: dict[str, Any] = {"net": net, "objective": objective, "batch": batch, "epochs": epochs}
    net, objective, batch, epochs = ((settings or {}).get(k) if v is None else v for k, v in given.items())
    settings = {name: value for name, value in (settings or {}).items() if name not in given}
    if start is not None:
        if net not in (None, start.net) or architecture is not None:
            raise BadRecipe(f"{start.name} is of net {start.net} and says what to train; leave the rest out")
        net, architecture = start.net, start.architecture
        objective, resolution_px = objective or start.objective, resolution_px or start.resolution_px
    net, objective = net or DEFAULT_NET, objective or ("mocov2" if architecture is None else "simclr")
    for kind, value, known in (("net", net, tuple(NETS)), ("objective", objective, tuple(OBJECTIVES))):
        if value not in known:
            raise UnknownName(f"no {kind} is called {shown(value)}; nearest: {', '.join(nearest(value, known))}")
    try:
        recipe = recipe_for(net, objective, architecture=architecture)
        recipe = _sized(recipe, resolution_px or recipe.resolution_px, batch or recipe.batch)
        if start is not None:
            recipe = _projecting(recipe, start)
        recipe = with_settings(recipe, settings)
        return replace(recipe, epochs=recipe.epochs if epochs is None else epochs, seed=seed, **(changes or {}))
    except (TypeError, ValueError) as error:
        raise BadRecipe(str(error)) from None


def _sized(recipe: Recipe, resolution_px: int, batch: int) -> Recipe:
    scale = resolution_px / recipe.resolution_px
    stages = tuple(Stage(until=s.until, crop_px=max(8, round(s.crop_px * scale))) for s in recipe.stages)
    teacher_views = recipe.teacher_views and replace(recipe.teacher_views, crop_px=resolution_px)
    views = replace(recipe.views, crop_px=resolution_px)
    growth = batch / recipe.batch
    # As many steps' keys as by default, but never fewer keys than by default.
    queue = max(round(recipe.queue * growth), recipe.queue // batch * batch, batch) if recipe.queue else 0
    # The square-root rule (SimCLR, arXiv:2002.05709, appendix B.1), for larger batches only.
    lr = recipe.lr * max(1.0, math.sqrt(growth))
    return replace(recipe, batch=batch, queue=queue, lr=lr, stages=stages, views=views, teacher_views=teacher_views)


def _projecting(recipe: Recipe, start: SupernetCard) -> Recipe:
    """With the projector and the pixels' normalization of ``start``."""
    hidden_dim, projection_dim = start.projection
    teacher_views = recipe.teacher_views
    return replace(
        recipe,
        hidden_dim=hidden_dim,
        projection_dim=projection_dim,
        projector_norm=start.projector_norm,
        views=replace(recipe.views, mean=start.mean, std=start.std),
        teacher_views=teacher_views and replace(teacher_views, mean=start.mean, std=start.std),
    )


def pretrain(
    images: str | Path,
    out: str | Path,
    *,
    net: str | None = None,
    objective: str | None = None,
    epochs: Positive | None = None,
    batch: Count | None = None,
    resolution_px: Count | None = None,
    seed: Seed = 0,
    changes: Changes | None = None,
    settings: Mapping[str, Any] | None = None,
    start: str | None = None,
    terms: str = "not stated",
    max_minutes: Positive | None = None,
    running: Running = ALONE,
    cache: Cache = "auto",
    resume: bool = False,
    overwrite: bool = False,
    progress: Watch = "auto",
    say: Say = tell,
) -> Supernet:
    """Train a supernet without labels; ``zoo pretrain`` as a function.

    Args:
        images: the folder of images.
        out: the supernet's folder.
        net: ``resnet-photo`` unless ``start`` says.
        objective: ``mocov2`` unless ``start`` says.
        epochs: passes over the images; None takes the recipe's.
        batch: images a step; None takes the recipe's.
        resolution_px: side of the largest crop; None takes the recipe's.
        seed: of everything random.
        changes: what else of the recipe is to be otherwise; ``teacher`` names an outside one.
        settings: any field of the recipe by name, e.g. ``{"queue": 4096, "views.blur_p": 0.5}``.
        start: name or folder of a supernet whose weights are the first ones.
        terms: see ``train``, as all that follow.
        max_minutes: see ``train``.
        running: devices, logger, validation and the like.
        cache: see ``train``.
        resume: see ``train``.
        overwrite: see ``train``.
        progress: see ``train``.
        say: see ``train``.

    Raises:
        UnknownName, BadRecipe: as ``recipe_of``; the others as ``train``.

    Example:
        >>> zoo.pretrain("photos", "my-supernet", max_minutes=60)  # doctest: +SKIP
    """
    progress = watching(progress)
    first = None if start is None else read_supernet(start).supernet
    recipe = recipe_of(
        net=net,
        objective=objective,
        epochs=epochs,
        batch=batch,
        seed=seed,
        resolution_px=resolution_px,
        start=None if first is None else first.card,
        changes=changes,
        settings=settings,
    )
    return train(
        recipe,
        Path(images),
        Path(out),
        terms=terms,
        start=first,
        max_minutes=max_minutes,
        running=running,
        cache=cache,
        resume=resume,
        overwrite=overwrite,
        progress=progress,
        say=say,
    )


def train(
    recipe: Recipe,
    images: Path,
    out: Path,
    *,
    terms: str,
    start: Supernet | None = None,
    max_minutes: float | None = None,
    running: Running = ALONE,
    cache: Cache = "auto",
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = no_progress,
    say: Say = tell,
) -> Supernet:
    """Train by ``recipe`` and write the supernet to ``out``, with a plot of its losses.

    Args:
        recipe: how.
        images: a folder of images or of tar shards, a text file with a path a line, or ``hf://org/name``.
        out: the supernet's folder; checkpoints lie there, too.
        terms: on which the images may be used, for the card.
        start: a supernet whose weights are the first ones.
        max_minutes: end after this time, whatever the recipe's epochs.
        running: on what, and what is told. Of several devices each normalizes its share of a batch apart, unless the
            recipe says otherwise.
        cache: where the images are kept: ``ram``, ``disk``, ``none`` (decoded anew in each step), or ``auto``.
        resume: go on from the last checkpoint in ``out``.
        overwrite: delete an earlier run in ``out`` first.
        progress: called with (stage, done, all).
        say: receives one line for each thing that happened.

    Raises:
        BadRecipe: a time that is none.
        OutputExists: ``out`` is not empty, and neither ``resume`` nor ``overwrite`` is given.
        NotEnoughImages: too few images can be read.
        MissingExtra: the training libraries, or those of a source, a teacher or a logger, are not installed.
    """
    if max_minutes is not None and not 0 < max_minutes < math.inf:
        raise BadRecipe(f"--max-minutes is {max_minutes:g}; it must be a finite number above 0")
    if resume and overwrite:
        raise OutputExists("--resume continues a run and --overwrite deletes it; give one of them")
    # Not only the first process: the others would wait for one that has ended. Those that Lightning started begin when
    # the first has checked, and may have begun to write.
    if not resume and (is_first() or "LOCAL_RANK" not in os.environ):
        if has_checkpoint(out) and not overwrite:
            raise OutputExists(f"{out} holds an unfinished run; --resume goes on with it, --overwrite begins anew")
        check_free(out, mark=CHECKPOINTS, overwrite=overwrite)
    try:
        from search.machines import machines_for
        from search.oneshot.pretrain import pretrain as train_supernet
    except ModuleNotFoundError as error:
        raise MissingExtra(f'training needs {error.name}; pip install "subnet-zoo[search]"') from None
    machines = machines_for(running.devices, running.nodes)
    recipe = _shared(recipe, machines.count)
    begun = False  # and so what lies in ``out`` is of this run alone
    try:
        read = feed(
            images,
            size_px=_OVERSIZE * recipe.resolution_px,
            crop_px=recipe.resolution_px,
            cache=cache,
            folder=home_folder("images"),
            processes=machines.devices,
            progress=stage(progress, "images"),
        )
        length = f"{recipe.steps(len(read.pixels))} steps" if max_minutes is None else f"{max_minutes:g} minutes"
        say(f"{read.told}; {length}")
        say(_told(recipe))
        teacher = None if recipe.teacher is None else _taught(recipe, read.pixels, progress, say)
        if overwrite and out.is_dir() and is_first():
            shutil.rmtree(out)
        begun = not resume
        made = train_supernet(
            recipe,
            read.pixels,
            out,
            name=out.resolve().name,
            data={"folder": images.resolve().name, "terms": terms},
            start=start,
            outside=teacher,
            max_minutes=max_minutes,
            running=replace(running, workers=_workers(running, machines.devices)),
            resume=resume,
            progress=stage(progress, "train"),
            say=say,
        )
    except ModuleNotFoundError as error:
        raise missing_extra(error) from None
    except BaseException:
        # Nothing to go on from: as if the command had not been given.
        if begun and is_first() and not has_checkpoint(out) and not (out / CARD).exists():
            shutil.rmtree(out, ignore_errors=True)
        raise
    title = f"{made.card.name}, {recipe.objective}"
    if (curve := made.card.training.get("curve")) is not None and is_first():
        plot_curve(curve, out / CURVE_PNG, title=title)
    if (validation := made.card.training.get("validation")) is not None and is_first():
        plot_validation(validation, out / VALIDATION_PNG, title=title)
    return made


def _told(recipe: Recipe) -> str:
    """The numbers that follow the net and the batch unless they are given."""
    queue = f", queue {recipe.queue}" if recipe.objective in QUEUED else ""
    crops = ", ".join(str(crop_px) for crop_px in dict.fromkeys(stage.crop_px for stage in recipe.stages))
    return (
        f"{recipe.net}, {recipe.objective}: batch {recipe.batch}, lr {recipe.lr:.3g},"
        f" {crops} px{queue}; --set changes any of them"
    )


def has_checkpoint(out: Path) -> bool:
    """Whether an interrupted run in ``out`` can go on."""
    return any((out / CHECKPOINTS).glob("*.ckpt")) and not (out / CARD).exists()


def missing_extra(error: ModuleNotFoundError) -> MissingExtra:
    """Which extra of the project brings the library that a training lacks."""
    extra = _EXTRAS.get((error.name or "").partition(".")[0], "search")
    return MissingExtra(f'this training needs {error.name}; pip install "subnet-zoo[{extra}]"')


def _taught(recipe: Recipe, pixels: Pixels, progress: Progress, say: Say) -> Outside:
    assert recipe.teacher is not None
    told, folder = stage(progress, "teacher"), home_folder("features")
    return outside(recipe.teacher, pixels, folder, sees=recipe.teacher_sees, progress=told, say=say)


def _workers(running: Running, devices: int) -> int:
    return min(8, max(1, (os.cpu_count() or 1) // devices)) if running.workers is None else running.workers


def _shared(recipe: Recipe, count: int) -> Recipe:
    """For ``count`` processes, each of which normalizes its images apart."""
    try:
        return replace(recipe, norm_groups=count) if recipe.norm_groups == 1 < count else recipe
    except ValueError as error:
        raise BadRecipe(f"{count} processes share the work, and {error}") from None


def import_gaia(checkpoint: Path, out: Path, *, objective: str = "mocov2", overwrite: bool = False) -> Supernet:
    """Write the supernet in a checkpoint that the authors of DATA released to ``out``.

    Raises:
        OutputExists: ``out`` is not empty, and ``overwrite`` is not given.
        UnknownName: no such objective.
        BadSupernet: it cannot be read, or is of other networks.
        WriteFailed: no space is left.
    """
    if objective not in OBJECTIVES:
        raise UnknownName(
            f"no objective is called {shown(objective)}; nearest: {', '.join(nearest(objective, OBJECTIVES))}"
        )
    check_free(out, mark=CARD, overwrite=overwrite)
    supernet = read_gaia(checkpoint, name=out.resolve().name, objective=objective)
    save_supernet(supernet, out)
    return supernet
