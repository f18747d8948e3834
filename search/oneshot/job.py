"""Job: a training in a form that a process can be handed, and its part that is the same in every process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nni.nas.evaluator.pytorch import Lightning, Trainer
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from pytorch_lightning import Callback
from torch import Tensor

from search.oneshot.checkpoints import KeepCheckpoint
from search.oneshot.compat import interruptible, quiet
from search.oneshot.place import ALONE, Place
from search.oneshot.plan import ENDLESS, even
from search.oneshot.sandwich import Sandwich
from search.oneshot.single import SingleModule
from search.oneshot.space import SupernetSpace
from search.oneshot.ssl import SSL
from search.oneshot.time_budget import TimeBudget
from search.oneshot.together import Together
from search.oneshot.trainer import Ticks, make_trainer
from search.recipes import Recipe, read_recipe
from search.supernet import Supernet

CHECKPOINT = Path("checkpoints") / "last.ckpt"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to train, and where.

    Args:
        recipe: how.
        out: the folder of checkpoints.
        checkpoint_steps: optimizer steps between them.
        max_minutes: how long, where the recipe's epochs do not say.
        resume: there is a checkpoint to go on from.
        start: name of the supernet whose weights are the first ones, where there is one.
    """

    recipe: Recipe
    out: Path
    checkpoint_steps: int
    max_minutes: float | None
    resume: bool
    start: str | None

    @property
    def last(self) -> Path:
        """The last checkpoint."""
        return self.out / CHECKPOINT


def write_job(job: Job, path: Path) -> None:
    """As JSON."""
    path.write_text(json.dumps({**asdict(job), "out": str(job.out.resolve())}), "utf-8")


def read_job(path: Path) -> Job:
    """What ``write_job`` wrote."""
    fields = json.loads(path.read_text("utf-8"))
    return Job(**{**fields, "recipe": read_recipe(fields["recipe"]), "out": Path(fields["out"])})


def do_job(
    job: Job,
    pixels: Tensor,
    *,
    place: Place = ALONE,
    start: Supernet | None = None,
    callbacks: Sequence[Callback] = (),
) -> SSL:
    """Train; the trained parts.

    Args:
        job: what.
        pixels: uint8 [N, 3, S, S].
        place: which process this is of those that share the job.
        start: the supernet to start from; the first process's is taken by all.
        callbacks: of Lightning's, besides those that every process needs.
    """
    ssl = SSL(job.recipe, pixels, place=place, start=start, start_name=job.start)
    kept: list[Callback] = [*callbacks, KeepCheckpoint(job.last, steps=job.checkpoint_steps)]
    if job.max_minutes is not None:
        ssl.plan = even(ENDLESS)
        kept.insert(0, TimeBudget(ssl, job.max_minutes))
    with interruptible(), quiet():
        strategy = Together(place) if place.count > 1 else "auto"
        trainer = make_trainer(
            job.out,
            kept,
            precision=job.recipe.precision,
            max_steps=ssl.plan.steps,
            devices=place.count,
            strategy=strategy,
        )
        _fit(ssl, trainer, job.last if job.resume else None)
    return ssl


def _fit(ssl: SSL, trainer: Trainer, last: Path | None) -> None:
    recipe = ssl.recipe
    ticks = Ticks(len(ssl.pixels) // recipe.batch, 0)
    if recipe.architecture is not None:
        trainer.fit(SingleModule(ssl), ticks, ckpt_path=last)
        return
    space = SupernetSpace(
        ssl.net,
        hidden_dim=recipe.hidden_dim,
        projection_dim=recipe.projection_dim,
        projector_norm=recipe.projector_norm,
    )
    kwargs = {"ckpt_path": last} if last else {}
    evaluator = Lightning(ssl, trainer, train_dataloaders=ticks, val_dataloaders=[], fit_kwargs=kwargs)
    Sandwich()(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine())
