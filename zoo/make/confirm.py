"""Confirm: make the network that the search liked best, export it, time it; when it is late, take the next one.

A latency table is a few percent off, so the winner of a search may measure above the budget. The next candidate is then
the best one whose prediction, corrected by the ratio just measured, fits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from export.artefact import export
from export.formats.onnx_file import metadata_props
from export.targets import target_at
from export.types import ExportReport
from search.errors import InfeasibleBudget
from search.nets import Backbone
from search.recalibrate import recalibrate
from search.subnets.evolution import Goal
from search.subnets.find import find, find_each
from search.types import Budget, Candidate, SearchResult
from zoo.errors import BudgetMissed
from zoo.heads.attach import deployed
from zoo.make.request import Job
from zoo.types import Progress, Say, Try, stage

# ruff: noqa: N803 - a tensor's name ends in its shape.


MAX_TRIES = 4
_COMPARED_IMAGES = 64
_CALIBRATION_IMAGES = 2048
_CALIBRATION_BATCH = 128
# The artefact that each kind of device gets.
_TARGETS = {"point": "point", "edge": "edge", "mobile": "edge", "cloud": "cloud"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Confirmed:
    """A network with its artefact, the search that found it, and all networks that were tried; the last one is it."""

    result: SearchResult
    backbone: Backbone
    report: ExportReport
    tries: tuple[Try, ...]


def confirm(
    job: Job, result: SearchResult, x_NCHW: Tensor, *, scratch: Path, say: Say, before: Sequence[Try] = ()
) -> Confirmed:
    """The best network that is exact and, where this machine can tell, in time.

    Args:
        job: what the search started from.
        result: of the search.
        x_NCHW: the user's images, preprocessed, float32 [N, 3, R, R].
        scratch: a folder for artefacts.
        say: receives a line for each try.
        before: tries of an earlier search.

    Raises:
        BudgetMissed: ``MAX_TRIES`` networks were timed and none met the budget.
        ComparisonFailed: the artefact's outputs are not torch's.
    """
    limit_ms = job.budget.latency_ms
    tries = list(before)
    candidate: Candidate | None = result.best
    while candidate is not None and len(tries) < len(before) + MAX_TRIES:
        backbone, report = _made(job, candidate, x_NCHW, scratch)
        measured_ms = report.measured.median_ms if report.measured else None
        tries.append(
            Try(
                architecture=candidate.architecture,
                score=candidate.score,
                predicted_ms=candidate.predicted_ms,
                measured_ms=measured_ms,
            )
        )
        say(_line(tries[-1], job.device.source))
        if limit_ms is None or measured_ms is None or measured_ms <= limit_ms:
            return Confirmed(result=result, backbone=backbone, report=report, tries=tuple(tries))
        candidate = next_candidate(result.front, tries, limit_ms)
    raise BudgetMissed(device_id=job.device.id, limit_ms=limit_ms or 0, tries=tries)


def next_candidate(front: Sequence[Candidate], tries: Sequence[Try], limit_ms: float) -> Candidate | None:
    """The best-scored candidate, faster than all tries, that fits once its prediction is corrected; else the fastest.

    Args:
        front: of the search.
        tries: so far, all measured.
        limit_ms: the budget, in milliseconds.

    Returns:
        None where no faster candidate is left.
    """
    fastest_ms = min(t.predicted_ms for t in tries)
    faster = [candidate for candidate in front if candidate.predicted_ms < fastest_ms]
    fitting = [candidate for candidate in faster if candidate.predicted_ms * lateness(tries) <= limit_ms]
    if fitting:
        return max(fitting, key=lambda candidate: candidate.score)
    return min(faster, key=lambda candidate: candidate.predicted_ms, default=None)


def lateness(tries: Sequence[Try]) -> float:
    """The largest measured / predicted time so far."""
    return max(t.measured_ms / t.predicted_ms for t in tries if t.measured_ms is not None)


def _made(job: Job, candidate: Candidate, x_NCHW: Tensor, scratch: Path) -> tuple[Backbone, ExportReport]:
    """The network, its statistics those of the user's images, and its artefact."""
    architecture = candidate.architecture
    backbone = job.ready.supernet.subnet(architecture)
    recalibrate(backbone, torch.split(x_NCHW[:_CALIBRATION_IMAGES], _CALIBRATION_BATCH))
    choices = json.dumps(architecture.choices)
    report = export(
        deployed(backbone, job.name.task),
        x_NCHW[:_COMPARED_IMAGES],
        target=target_at(_TARGETS[job.device.kind], architecture.resolution_px),
        path=scratch / "model.onnx",
        metadata=metadata_props(job.preprocess, name=str(job.name), net=architecture.net, architecture=choices),
        predicted_ms=candidate.predicted_ms,
        device=job.device.id,
        threads=max(1, job.device.threads),  # 0: not published
        time=job.table.here,
    )
    return backbone, report


def _line(one: Try, source: str) -> str:
    measured = "not timed here" if one.measured_ms is None else f"measured {one.measured_ms:.3f} ms"
    return f"score {one.score:.4f}, predicted {one.predicted_ms:.3f} ms ({source}), {measured}"


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
