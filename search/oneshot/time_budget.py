"""Time budget: ends a training after a given time, with its schedule complete."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from search.errors import TrainingError
from search.oneshot.plan import Pace
from search.oneshot.ssl import SSL
from search.oneshot.trainer import set_steps


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
        seconds = ssl.place.agree(ssl.run.seconds)
        if seconds >= self._max_s and step < ssl.plan.steps:
            raise TrainingError(
                f"the run took {seconds / 60:.1f} minutes before, and {self._max_s / 60:g} are allowed; allow more"
            )
        self._pace = Pace(ssl.recipe.stages, self._max_s, step=step, seconds=seconds)

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *args: Any, **kwargs: Any) -> None:
        """See Lightning."""
        ssl, step = self._ssl, int(trainer.global_step)
        crop_px, next_px = (ssl.recipe.crop_px(ssl.plan.progress(s)) for s in (step - 1, step))
        ssl.plan = self._pace.after(step, crop_px, next_px, ssl.place.agree(ssl.run.seconds), ssl.plan)
        set_steps(trainer, ssl.plan)
