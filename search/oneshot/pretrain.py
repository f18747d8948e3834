"""Training: a supernet through NNI's one-shot strategy, or a single network, self-supervised, on Lightning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback
from torch import Tensor

from search import ranks
from search.curve import METRICS, loss_curve
from search.errors import TrainingError
from search.first import is_first
from search.images.feed import Pixels
from search.images.read import different
from search.machines import machines_for
from search.nets import NETS
from search.oneshot.engine.trainer import require_logger
from search.oneshot.engine.watch import MetricsFile, TellCost, TellProgress, ToLoggers
from search.oneshot.fit import CHECKPOINT, Job, do_job
from search.oneshot.ssl import SSL
from search.oneshot.validate import VALIDATION, Validate, read_validation
from search.recipes import Recipe
from search.running import ALONE, Running
from search.supernet import Supernet, SupernetCard, save_supernet
from search.teachers import Outside


def pretrain(
    recipe: Recipe,
    pixels: Pixels,
    out: Path,
    *,
    name: str,
    data: Mapping[str, Any],
    start: Supernet | None = None,
    outside: Outside | None = None,
    max_minutes: float | None = None,
    running: Running = ALONE,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Supernet:
    """Train a supernet, or the recipe's one network, and write it to ``out``.

    There will be ``card.json``, ``model.safetensors``, ``metrics.csv`` and the last checkpoint.

    Args:
        recipe: how to train.
        pixels: uint8 [N, 3, S, S], in memory or not, S at least the largest crop, N at least a batch.
        out: a folder.
        name: of the supernet, for its card.
        data: what the images are and on what terms, for its card.
        start: a supernet of the same networks, whose weights are the first ones; None draws them.
        max_minutes: end after this time, whatever the recipe's epochs, with the schedule complete; earlier parts of a
            resumed run count, interruptions do not.
        outside: the recipe's outside teacher, where it has one.
        running: on what, and what is told. The result of several devices is that of one, but for rounding; they divide
            the recipe's ``norm_groups``. Lightning starts the others by the command that started this one, so they run
            whatever stands before this call, too; all return the supernet, the first one writes it.
        resume: go on from ``out/checkpoints/last.ckpt`` where there is one.
        progress: called with (steps done, steps in all) after each step.
        say: receives a line for each thing that happened.

    Raises:
        TrainingError: the images are too small, too few or all the same; ``start`` holds other networks; the checkpoint
            is damaged, another run's, or there although ``resume`` is not asked for; no time is left; the loss is no
            longer finite, or the embeddings have collapsed.
        WriteFailed: the disk is full, for instance; the previous checkpoint is as it was.
    """
    machines = machines_for(running.devices, running.nodes)
    job = Job(
        recipe=recipe,
        out=out,
        max_minutes=max_minutes,
        resume=resume and (out / CHECKPOINT).exists(),
        start=None if start is None else start.card.name,
        running=running,
        machines=machines,
    )
    check_run(recipe, pixels, job.last, resume=resume)
    if recipe.norm_groups % machines.count:
        raise TrainingError(
            f"norm_groups is {recipe.norm_groups}, and whole groups go to each of {machines.count} processes; make it"
            f" {machines.count} or a multiple"
        )
    if start is not None:
        check_start(recipe, start)
    if (outside is None) != (recipe.teacher is None):
        raise TrainingError(f"the recipe's teacher is {recipe.teacher or 'its own'}, and another is given")
    require_logger(running.logger)
    # Read by all processes, though one judges: what is wrong with it ends all.
    tell = say or (lambda line: None)
    validate = None
    if running.validate is not None:
        validate = Validate(recipe, pixels, running.validate, out / VALIDATION, running.validate_steps, tell)
    out.mkdir(parents=True, exist_ok=True)
    callbacks = _watchers(recipe, out, running, validate, progress, tell) if is_first() else []
    ssl = do_job(job, pixels, start=start, outside=outside, callbacks=callbacks)
    weights = {name: tensor.detach().cpu() for name, tensor in ssl.student.items()}
    # Of 16 bits, as they are saved: what is finite in 32 may not be.
    if wrong := sorted(name for name, tensor in weights.items() if not bool(tensor.half().isfinite().all())):
        raise TrainingError(
            f"{len(wrong)} tensors are not finite after the last step, first {wrong[0]}; nothing was saved: train anew"
            f" with a lower learning rate than {recipe.lr:g}"
        )
    card = _card(ssl, name, data, job, None if start is None else start.card)
    supernet = Supernet(card=card, weights=weights)
    if is_first():
        save_supernet(supernet, out)
    return supernet


def _taught_by(recipe: Recipe, start: SupernetCard | None) -> dict[str, Any]:
    """The outside teacher, this training's or an earlier one's: it may have learned from labels, and has terms."""
    if recipe.teacher is not None:
        name = Path(recipe.teacher).name if Path(recipe.teacher).is_file() else recipe.teacher
        return {"teacher": f"{name}, {recipe.teacher_weight:.0%} of the loss"}
    return {} if start is None or "teacher" not in start.data else {"teacher": start.data["teacher"]}


def _watchers(
    recipe: Recipe,
    out: Path,
    running: Running,
    validate: Validate | None,
    progress: Callable[[int, int], None] | None,
    say: Callable[[str], None],
) -> list[Callback]:
    """Of the first process."""
    watchers: list[Callback] = [MetricsFile(out / METRICS), TellCost(recipe, say)]
    if progress is not None:
        watchers.append(TellProgress(progress))
    if running.logger != "csv":
        watchers.append(ToLoggers())
    return watchers if validate is None else [*watchers, validate]


def check_run(recipe: Recipe, pixels: Pixels, last: Path, *, resume: bool) -> None:
    """Raise TrainingError for images that cannot train a network, and for an earlier run that is not asked for."""
    count, side_px = len(pixels), min(pixels.shape[-2:])
    crop_px = max(stage.crop_px for stage in recipe.stages)
    if side_px < crop_px:
        raise TrainingError(f"the images are {side_px} px and the largest crop {crop_px} px; read them larger")
    if count < recipe.batch:
        raise TrainingError(f"{count} images are fewer than a batch of {recipe.batch}; add images, or lower the batch")
    if (found := _different(pixels)) < recipe.batch:
        raise TrainingError(
            f"only {found} of {count} images are not copies, fewer than a batch of {recipe.batch}; add others, or"
            " lower the batch"
        )
    if last.exists() and not resume and is_first():
        raise TrainingError(f"{last} is of an earlier run; resume that, or train into another folder")


def _different(pixels: Pixels) -> int:
    if isinstance(pixels, Tensor):
        return different(pixels)
    return pixels.different


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


def _card(ssl: SSL, name: str, data: Mapping[str, Any], job: Job, start: SupernetCard | None) -> SupernetCard:
    steps, count = ssl.plan.steps, len(ssl.pixels)
    recipe = ssl.recipe
    training: dict[str, Any] = {"steps": steps, "seconds": round(ssl.run.seconds)}
    if start is not None:
        training["from"], training["images_seen"] = start.name, start.images_seen + steps * recipe.batch
    if job.max_minutes is not None:  # which decided how many epochs there were
        recipe = replace(recipe, epochs=steps / (count // recipe.batch))
        training["max_minutes"] = job.max_minutes
    if (job.out / VALIDATION).exists():
        training["validation"] = read_validation(job.out / VALIDATION, start)
    if ranks.count() > 1:
        training["processes"] = ranks.count()
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
        data={"images": count, **data, **_taught_by(recipe, start)},
        training=training,
        evaluation={},
        versions={"torch": torch.__version__},
        architecture=recipe.architecture,
        projector_norm=recipe.projector_norm,
    )
