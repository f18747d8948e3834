"""Winner: search, confirm, and where all that was found is late on the clock, search once more for what is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from search.errors import InfeasibleBudget
from search.find import find
from search.types import Budget
from search.views import center
from zoo.confirm import Confirmed, confirm, lateness
from zoo.errors import BudgetMissed
from zoo.job import Job
from zoo.progress import Progress, Say, stage
from zoo.types import Try


def find_winner(job: Job, *, scratch: Path, progress: Progress, say: Say) -> Confirmed:
    """The best network within the job's budget, by the table and by the clock.

    Args:
        job: what to search.
        scratch: a folder for artefacts.
        progress: called with (stage, done, all).
        say: receives one line for each thing that happened.

    Raises:
        InfeasibleBudget: the budget is below the fastest network.
        BudgetMissed: the table said yes and the clock said no, even after allowing for the difference.
        ComparisonFailed: the artefact's outputs are not torch's.
    """
    budget = job.name.budget
    try:
        return _attempt(job, budget, (), scratch, progress, say)
    except BudgetMissed as missed:
        late = lateness(missed.tries)
        tighter = replace(budget, latency_ms=(budget.latency_ms or 0) / late)
        say(f"all were late, by up to {100 * (late - 1):.0f} %; searching again below {tighter.latency_ms:.3g} ms")
        try:
            return _attempt(job, tighter, missed.tries, scratch, progress, say)
        except InfeasibleBudget:
            raise missed from None


def _attempt(job: Job, budget: Budget, before: Sequence[Try], scratch: Path, progress: Progress, say: Say) -> Confirmed:
    pixels, about = job.photos.pixels, job.ready.supernet.card
    found = find(
        job.ready.supernet,
        job.table.latencies,
        pixels,
        budget,
        task=job.name.task,
        seed=job.seed,
        progress=stage(progress, "search"),
    )
    say(f"{len(found.evaluated)} networks scored in {found.seconds:.0f} s, {len(found.front)} on the front")
    x_NCHW = center(pixels, job.resolution_px, about.mean, about.std)  # noqa: N806
    return confirm(job, found, x_NCHW, scratch=scratch, say=say, before=before)
