"""Job: a training in a form that a process can be handed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from search.recipes import Recipe, read_recipe

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
