"""Training: a supernet through NNI's one-shot strategy, or a single network, self-supervised, on Lightning."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from nni.nas.evaluator.pytorch import Lightning, Trainer
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from pytorch_lightning import Callback
from torch import Tensor

from search.errors import TrainingError
from search.oneshot.checkpoints import KeepCheckpoint
from search.oneshot.compat import interruptible, quiet
from search.oneshot.metrics import MetricsFile
from search.oneshot.plan import ENDLESS, even
from search.oneshot.sandwich import Sandwich
from search.oneshot.single import SingleModule
from search.oneshot.space import SupernetSpace
from search.oneshot.ssl import SSL
from search.oneshot.time_budget import TimeBudget
from search.oneshot.trainer import TellProgress, Ticks, make_trainer
from search.recipes import Recipe
from search.supernet import Supernet, SupernetCard, save_supernet

CHECKPOINT = "last.ckpt"
METRICS = "metrics.csv"


def pretrain(
    recipe: Recipe,
    pixels: Tensor,
    out: Path,
    *,
    name: str,
    data: Mapping[str, Any],
    start: Supernet | None = None,
    max_minutes: float | None = None,
    resume: bool = False,
    checkpoint_steps: int = 200,
    progress: Callable[[int, int], None] | None = None,
) -> Supernet:
    """Train a supernet, or the recipe's one network, and write it to ``out``.

    There will be ``card.json``, ``model.safetensors``, ``metrics.csv`` and the last checkpoint.

    Args:
        recipe: how to train.
        pixels: uint8 [N, 3, S, S], S at least the largest crop, N at least a batch.
        out: a folder.
        name: of the supernet, for its card.
        data: what the images are and on what terms, for its card.
        start: a supernet of the same networks, whose weights are the first ones; None draws them.
        max_minutes: end after this time, whatever the recipe's epochs, with the schedule complete; earlier parts of a
            resumed run count, interruptions do not.
        resume: go on from ``out/checkpoints/last.ckpt`` where there is one.
        checkpoint_steps: optimizer steps between checkpoints.
        progress: called with (steps done, steps in all) after each step.

    Raises:
        TrainingError: the images are too small, too few or all the same; ``start`` holds other networks; the checkpoint
            is damaged, another run's, or there although ``resume`` is not asked for; no time is left; the loss is no
            longer finite, or the embeddings have collapsed.
        WriteFailed: the disk is full, for instance; the previous checkpoint is as it was.
    """
    last = out / "checkpoints" / CHECKPOINT
    check_run(recipe, pixels, last, resume=resume)
    if start is not None:
        check_start(recipe, start)
    ssl = SSL(recipe, pixels, start=start)
    callbacks: list[Callback] = [MetricsFile(out / METRICS), KeepCheckpoint(last, steps=checkpoint_steps)]
    if max_minutes is not None:
        ssl.plan = even(ENDLESS)
        callbacks.insert(0, TimeBudget(ssl, max_minutes))
    out.mkdir(parents=True, exist_ok=True)
    with interruptible(), quiet():
        told = [] if progress is None else [TellProgress(progress)]
        trainer = make_trainer(out, [*callbacks, *told], precision=recipe.precision, max_steps=ssl.plan.steps)
        _fit(ssl, trainer, last if last.exists() else None)
    weights = {name: tensor.detach().cpu() for name, tensor in ssl.student.items()}
    supernet = Supernet(card=_card(ssl, name, data, start, max_minutes), weights=weights)
    save_supernet(supernet, out)
    return supernet


def _fit(ssl: SSL, trainer: Trainer, last: Path | None) -> None:
    recipe = ssl.recipe
    ticks = Ticks(len(ssl.pixels) // recipe.batch, 0)
    if recipe.architecture is not None:
        trainer.fit(SingleModule(ssl), ticks, ckpt_path=last)
        return
    space = SupernetSpace(ssl.net, hidden_dim=recipe.hidden_dim, projection_dim=recipe.projection_dim)
    kwargs = {"ckpt_path": last} if last else {}
    evaluator = Lightning(ssl, trainer, train_dataloaders=ticks, val_dataloaders=[], fit_kwargs=kwargs)
    Sandwich()(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine())


def check_run(recipe: Recipe, pixels: Tensor, last: Path, *, resume: bool) -> None:
    """Raise TrainingError for images that cannot train a network, and for an earlier run that is not asked for."""
    count, side_px = len(pixels), min(pixels.shape[-2:])
    crop_px = max(stage.crop_px for stage in recipe.stages)
    if side_px < crop_px:
        raise TrainingError(f"the images are {side_px} px and the largest crop {crop_px} px; read them larger")
    if count < recipe.batch:
        raise TrainingError(f"{count} images are fewer than a batch of {recipe.batch}; add images, or lower the batch")
    different = len({zlib.crc32(image.contiguous().numpy().data) for image in pixels})
    if different < recipe.batch:
        raise TrainingError(
            f"only {different} of {count} images are not copies, fewer than a batch of {recipe.batch}; add others, or"
            " lower the batch"
        )
    if last.exists() and not resume:
        raise TrainingError(f"{last} is of an earlier run; resume that, or train into another folder")


def check_start(recipe: Recipe, start: Supernet) -> None:
    """Raise TrainingError for a supernet that cannot give ``recipe`` its first weights."""
    card, projection = start.card, (recipe.hidden_dim, recipe.projection_dim)
    for what, theirs, ours in (
        ("net", card.net, recipe.net),
        ("architecture", card.architecture, recipe.architecture),
        ("projector", card.projection, projection),
    ):
        if theirs != ours:
            raise TrainingError(f"the {what} of {card.name} is {theirs}, not {ours}; start from one that has the same")


def _card(
    ssl: SSL, name: str, data: Mapping[str, Any], start: Supernet | None, max_minutes: float | None
) -> SupernetCard:
    steps, count = ssl.plan.steps, len(ssl.pixels)
    recipe = ssl.recipe
    training: dict[str, Any] = {"steps": steps, "seconds": round(ssl.run.seconds)}
    if start is not None:
        training["from"] = start.card.name
    if max_minutes is not None:  # which decided how many epochs there were
        recipe = replace(recipe, epochs=steps / (count // recipe.batch))
        training["max_minutes"] = max_minutes
    return SupernetCard(
        name=name,
        net=recipe.net,
        objective=recipe.objective,
        resolution_px=recipe.resolution_px,
        projection=(recipe.hidden_dim, recipe.projection_dim),
        mean=recipe.views.mean,
        std=recipe.views.std,
        recipe=asdict(recipe),
        data={"images": count, **data},
        training=training,
        evaluation={},
        versions={"torch": torch.__version__},
        architecture=recipe.architecture,
    )
