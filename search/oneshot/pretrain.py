"""Training: a supernet through NNI's one-shot strategy, or a single network, self-supervised, on Lightning."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback
from torch import Tensor

from search.curve import METRICS, loss_curve
from search.errors import TrainingError
from search.nets import NETS
from search.oneshot.engine.job import CHECKPOINT, Job
from search.oneshot.engine.processes import shared
from search.oneshot.engine.trainer import MetricsFile, TellProgress
from search.oneshot.fit import do_job
from search.oneshot.ssl import SSL
from search.recipes import Recipe
from search.supernet import Supernet, SupernetCard, save_supernet


def pretrain(
    recipe: Recipe,
    pixels: Tensor,
    out: Path,
    *,
    name: str,
    data: Mapping[str, Any],
    start: Supernet | None = None,
    max_minutes: float | None = None,
    processes: int = 1,
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
        processes: that share the work, each on a device or a share of the processor's cores; the same result as one
            process gives, but for rounding. They divide the recipe's ``norm_groups``.
        resume: go on from ``out/checkpoints/last.ckpt`` where there is one.
        checkpoint_steps: optimizer steps between checkpoints.
        progress: called with (steps done, steps in all) after each step.

    Raises:
        TrainingError: the images are too small, too few or all the same; ``start`` holds other networks; the checkpoint
            is damaged, another run's, or there although ``resume`` is not asked for; no time is left; the loss is no
            longer finite, or the embeddings have collapsed.
        WriteFailed: the disk is full, for instance; the previous checkpoint is as it was.
    """
    job = Job(
        recipe=recipe,
        out=out,
        checkpoint_steps=checkpoint_steps,
        max_minutes=max_minutes,
        resume=resume and (out / CHECKPOINT).exists(),
        start=None if start is None else start.card.name,
    )
    check_run(recipe, pixels, job.last, resume=resume)
    if recipe.norm_groups % processes:
        raise TrainingError(
            f"norm_groups is {recipe.norm_groups}, and whole groups go to each of {processes} processes; make it"
            f" {processes} or a multiple"
        )
    if start is not None:
        check_start(recipe, start)
    callbacks: list[Callback] = [MetricsFile(out / METRICS)]
    if progress is not None:
        callbacks.append(TellProgress(progress))
    out.mkdir(parents=True, exist_ok=True)
    with shared(job, pixels, processes) as place:
        ssl = do_job(job, pixels, place=place, start=start, callbacks=callbacks)
    weights = {name: tensor.detach().cpu() for name, tensor in ssl.student.items()}
    # Of 16 bits, as they are saved: what is finite in 32 may not be.
    if wrong := sorted(name for name, tensor in weights.items() if not bool(tensor.half().isfinite().all())):
        raise TrainingError(
            f"{len(wrong)} tensors are not finite after the last step, first {wrong[0]}; nothing was saved: train anew"
            f" with a lower learning rate than {recipe.lr:g}"
        )
    supernet = Supernet(card=_card(ssl, name, data, job), weights=weights)
    save_supernet(supernet, out)
    return supernet


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
    card, projection = start.card, (recipe.hidden_dim, recipe.projection_dim, recipe.projector_norm)
    for what, theirs, ours in (
        ("net", *((NETS[net].weights or net) for net in (card.net, recipe.net))),
        ("architecture", card.architecture, recipe.architecture),
        ("projector", (*card.projection, card.projector_norm), projection),
    ):
        if theirs != ours:
            raise TrainingError(f"the {what} of {card.name} is {theirs}, not {ours}; start from one that has the same")


def _card(ssl: SSL, name: str, data: Mapping[str, Any], job: Job) -> SupernetCard:
    steps, count = ssl.plan.steps, len(ssl.pixels)
    recipe = ssl.recipe
    training: dict[str, Any] = {"steps": steps, "seconds": round(ssl.run.seconds)}
    if job.start is not None:
        training["from"] = job.start
    if job.max_minutes is not None:  # which decided how many epochs there were
        recipe = replace(recipe, epochs=steps / (count // recipe.batch))
        training["max_minutes"] = job.max_minutes
    if ssl.place.count > 1:
        training["processes"] = ssl.place.count
    if (job.out / METRICS).exists():  # a run that goes on from a checkpoint alone may have none
        training["curve"] = loss_curve(job.out / METRICS)
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
        projector_norm=recipe.projector_norm,
    )
