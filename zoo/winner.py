"""Winner: search, confirm, and where all that was found is late on the clock, search once more for what is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from search.errors import InfeasibleBudget
from search.find import find, find_each
from search.hunt import Goal
from search.types import Budget, SearchResult
from zoo.confirm import Confirmed, confirm, lateness
from zoo.errors import BudgetMissed
from zoo.job import Job
from zoo.progress import Progress, Say, stage


def find_winner(
    job: Job, *, scratch: Path, progress: Progress, say: Say, found: SearchResult | None = None
) -> Confirmed:
    """The best network within the job's budget, by the table and by the clock.

    Args:
        job: what to search.
        scratch: a folder for artefacts.
        progress: called with (stage, done, all).
        say: receives one line for each thing that happened.
        found: a search that was made already.

    Raises:
        InfeasibleBudget: the budget is below the fastest network.
        BudgetMissed: the table said yes and the clock said no, even after allowing for the difference.
        ComparisonFailed: the artefact's outputs are not torch's.
    """
    try:
        first = found or _search(job, job.budget, progress, say)
        return confirm(job, first, job.inputs(), scratch=scratch, say=say)
    except BudgetMissed as missed:
        late = lateness(missed.tries)
        tighter = replace(job.budget, latency_ms=(job.budget.latency_ms or 0) / late)
        say(f"all were late, by up to {100 * (late - 1):.0f} %; searching again below {tighter.latency_ms:.3g} ms")
        try:
            second = _search(job, tighter, progress, say)
        except InfeasibleBudget:
            raise missed from None
        return confirm(job, second, job.inputs(), scratch=scratch, say=say, before=missed.tries)


def search_jobs(jobs: Sequence[Job], *, progress: Progress, say: Say) -> list[SearchResult]:
    """A search a job; those at one resolution share scores.

    Args:
        jobs: of one supernet and task.
        progress: called with (stage, done, all).
        say: receives one line for each thing that happened.

    Raises:
        InfeasibleBudget: a budget is below the fastest network on its device.
    """
    results: dict[str, SearchResult] = {}
    for size_px in dict.fromkeys(job.resolution_px for job in jobs):
        group = [job for job in jobs if job.resolution_px == size_px]
        found = find_each(
            group[0].ready.supernet,
            [Goal(table=job.table.latencies, budget=job.budget) for job in group],
            group[0].photos.pixels,
            task=group[0].name.task,
            seed=group[0].seed,
            progress=stage(progress, "search"),
        )
        results |= {result.device_id: result for result in found}
        scored = len({candidate.architecture for result in found for candidate in result.evaluated})
        say(f"{scored} networks scored at {size_px} px in {found[0].seconds:.0f} s for {len(group)} device(s)")
    return [results[job.device.id] for job in jobs]


def _search(job: Job, budget: Budget, progress: Progress, say: Say) -> SearchResult:
    found = find(
        job.ready.supernet,
        job.table.latencies,
        job.photos.pixels,
        budget,
        task=job.name.task,
        seed=job.seed,
        progress=stage(progress, "search"),
    )
    say(f"{len(found.evaluated)} networks scored in {found.seconds:.0f} s, {len(found.front)} on the front")
    return found
