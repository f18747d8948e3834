"""Fit: the part of a training that is the same in every process, driven by NNI's one-shot strategies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nni.nas.evaluator.pytorch import Lightning, Trainer
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from pytorch_lightning import Callback, LightningModule

from search import ranks
from search.errors import TrainingError
from search.first import is_first
from search.images.feed import Pixels
from search.machines import ONE, Machines, interruptible, quiet, together
from search.oneshot.engine.checkpoints import KeepCheckpoint, Meet
from search.oneshot.engine.schedule import ENDLESS, Pace, even
from search.oneshot.engine.trainer import Ticks, make_trainer, set_steps
from search.oneshot.space import SupernetSpace
from search.oneshot.ssl import SSL
from search.oneshot.strategy import Sandwich, SingleModule
from search.recipes import Recipe
from search.running import Running
from search.supernet import Supernet
from search.teachers import Outside

CHECKPOINT = Path("checkpoints") / "last.ckpt"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to train, and where.

    Args:
        recipe: how.
        out: the folder of checkpoints.
        max_minutes: how long, where the recipe's epochs do not say.
        resume: there is a checkpoint to go on from.
        start: name of the supernet whose weights are the first ones, where there is one.
        running: on what, and what is told.
        machines: the processes that share it.
    """

    recipe: Recipe
    out: Path
    max_minutes: float | None = None
    resume: bool = False
    start: str | None = None
    running: Running = Running()  # noqa: RUF009 - frozen
    machines: Machines = ONE

    @property
    def last(self) -> Path:
        """The last checkpoint."""
        return self.out / CHECKPOINT


def do_job(
    job: Job,
    pixels: Pixels,
    *,
    start: Supernet | None = None,
    outside: Outside | None = None,
    callbacks: Sequence[Callback] = (),
) -> SSL:
    """Train; the trained parts.

    Args:
        job: what.
        pixels: uint8 [N, 3, S, S], in memory or not.
        start: the supernet to start from; the first process's is taken by all.
        outside: the outside teacher, where there is one.
        callbacks: of Lightning's, besides those that every process needs.

    Raises:
        TrainingError: another process is at other work.
        ProcessLost: another process ended before its time.
        Preempted: the process was asked to end; there is a checkpoint.
    """
    running = job.running
    ssl = SSL(job.recipe, pixels, start=start, start_name=job.start, running=running, outside=outside)
    kept: list[Callback] = [Meet(ssl.run), *callbacks, KeepCheckpoint(job.last, steps=running.checkpoint_steps)]
    if job.max_minutes is not None:
        ssl.plan = even(ENDLESS)
        kept.insert(0, TimeBudget(ssl, job.max_minutes))
    with interruptible(), quiet():
        trainer = make_trainer(
            job.out,
            kept,
            precision=job.recipe.precision,
            max_steps=ssl.plan.steps,
            machines=job.machines,
            logger=running.logger if is_first() else "csv",
        )
        with together(trainer):
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


class TimeBudget(Callback):
    """Corrects the plan of ``ssl`` as the run goes on; before the callback that keeps checkpoints, which hold the plan.

    Args:
        ssl: what is trained.
        max_minutes: for the whole run, interruptions left out.
    """

    def __init__(self, ssl: SSL, max_minutes: float) -> None:
        self._ssl, self._max_s = ssl, 60 * max_minutes
        self._pace: Pace

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """See Lightning.

        Raises:
            TrainingError: a resumed run has no time left.
        """
        ssl, step = self._ssl, int(trainer.global_step)
        seconds = ranks.agree(ssl.run.seconds)
        if seconds >= self._max_s and step < ssl.plan.steps:
            raise TrainingError(
                f"the run took {seconds / 60:.1f} minutes before, and {self._max_s / 60:g} are allowed; allow more"
            )
        self._pace = Pace(ssl.recipe.stages, self._max_s, step=step, seconds=seconds)

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *args: Any, **kwargs: Any) -> None:
        """See Lightning."""
        ssl, step = self._ssl, int(trainer.global_step)
        crop_px, next_px = (ssl.recipe.crop_px(ssl.plan.progress(s)) for s in (step - 1, step))
        ssl.plan = self._pace.after(step, crop_px, next_px, ranks.agree(ssl.run.seconds), ssl.plan)
        set_steps(trainer, ssl.plan)
