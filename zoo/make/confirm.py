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
from torch import Tensor, nn

from export.artefact import export, time_again
from export.formats.onnx_file import metadata_props
from export.targets import target_at
from export.types import ExportReport
from hardware_profiles.estimate import block_ms
from search.errors import InfeasibleBudget
from search.nets import Backbone
from search.nets.heads import Whole, levels_of, make_head
from search.nets.whole import Headed
from search.recalibrate import batches, recalibrate
from search.subnets.evolution import find_each
from search.subnets.proposals import Goal
from search.types import Budget, Candidate, SearchResult
from zoo.errors import BudgetMissed
from zoo.heads.network import deployed
from zoo.make.job import Job
from zoo.names import format_size
from zoo.types import Progress, Say, Split, Try, stage

# ruff: noqa: N803 - a tensor's name ends in its shape.


MAX_TRIES = 4  # each costs an export and a timing; a tighter search follows
# A late network is timed again before a worse one is taken: moments of a busy machine made good ones twice as slow.
_TIMED_AGAIN = 2
_COMPARED_IMAGES = 64  # of the user's, through torch and ONNX Runtime: a second
# The backbone of a whole model, exported for its time alone.
_FEW = 4
# The artefact that each kind of device gets.
_TARGETS = {"point": "point", "edge": "edge", "mobile": "edge", "cloud": "cloud"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Confirmed:
    """A network with its artefact, the search that found it, and all networks that were tried; the last one is it."""

    result: SearchResult
    backbone: Backbone
    head: nn.Module | None
    report: ExportReport
    tries: tuple[Try, ...]
    split: Split | None


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
        backbone, head, report = _made(job, candidate, x_NCHW, scratch)
        for _ in range(_TIMED_AGAIN):
            if limit_ms is not None and report.measured is not None and report.measured.median_ms > limit_ms:
                report = time_again(report, x_NCHW[:_COMPARED_IMAGES].numpy())
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
            split = _split(job, candidate, backbone, report, x_NCHW, scratch)
            return Confirmed(
                result=result, backbone=backbone, head=head, report=report, tries=tuple(tries), split=split
            )
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


def _made(
    job: Job, candidate: Candidate, x_NCHW: Tensor, scratch: Path
) -> tuple[Backbone, nn.Module | None, ExportReport]:
    """The network, its statistics those of the user's images, the head of a whole model, and its artefact."""
    backbone = job.ready.supernet.subnet(candidate.architecture)
    backbone.to(memory_format=torch.channels_last)
    chosen = batches(len(x_NCHW), *x_NCHW.shape[-2:])
    recalibrate(backbone, (x_NCHW[rows] for rows in chosen))
    if not isinstance(job.family, Headed):
        report = _exported(job, candidate, deployed(backbone, job.name.task), x_NCHW, scratch / "model.onnx")
        return backbone, None, report
    head = make_head(job.family.task, job.family.channels(candidate.architecture), job.family.classes, seed=job.seed)
    whole = Whole(backbone, head, job.family.task).eval()
    _settle(whole, x_NCHW[chosen[0]])
    return backbone, head.eval(), _exported(job, candidate, whole, x_NCHW, scratch / "model.onnx")


def _exported(job: Job, candidate: Candidate, module: nn.Module, x_NCHW: Tensor, path: Path) -> ExportReport:
    architecture = candidate.architecture
    choices, target = json.dumps(architecture.choices), target_at(_TARGETS[job.device.kind], job.resolution_px)
    return export(
        module,
        x_NCHW[:_COMPARED_IMAGES],
        target=replace(target, input_nchw=(1, 3, *job.size_px)),
        path=path,
        metadata=metadata_props(
            job.preprocess, name=str(job.name), net=architecture.net, architecture=choices, classes=class_names(job)
        ),
        predicted_ms=candidate.predicted_ms,
        device=job.device.id,
        threads=max(1, job.device.threads),  # 0: not published
        time=job.table.here,
    )


def class_names(job: Job) -> tuple[str, ...]:
    """Of a head that has seen no label yet: ``class 0``, ``class 1``, ...; none without a head."""
    return tuple(f"class {i}" for i in range(job.family.classes)) if isinstance(job.family, Headed) else ()


@torch.no_grad()
def _settle(whole: Whole, x_NCHW: Tensor) -> None:
    """Give the head's normalizations the statistics of these images, so that its numbers have a usual size."""
    norms = [part for part in whole.head.modules() if isinstance(part, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = None  # the plain mean of all batches, here of one
        norm.reset_running_stats()
    whole(x_NCHW)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval()
        norm.momentum = momentum


def _split(
    job: Job, candidate: Candidate, backbone: Backbone, report: ExportReport, x_NCHW: Tensor, scratch: Path
) -> Split | None:
    """A whole model's milliseconds, backbone and head apart; measured where the whole was."""
    if not isinstance(job.family, Headed):
        return None
    table, head = job.table.latencies, job.family.head(candidate.architecture)
    head_ms = float(block_ms(table, head).sum())
    split = Split(predicted_backbone_ms=round(candidate.predicted_ms - head_ms, 6), predicted_head_ms=round(head_ms, 6))
    if report.measured is None:
        return split
    levels = [level.name for level in levels_of(job.family.channels(candidate.architecture))]
    alone = _exported(job, candidate, _Maps(backbone, levels), x_NCHW[:_FEW], scratch / "backbone.onnx")
    if alone.measured is None:
        return split
    backbone_ms = min(alone.measured.median_ms, report.measured.median_ms)
    return replace(
        split, measured_backbone_ms=backbone_ms, measured_head_ms=round(report.measured.median_ms - backbone_ms, 6)
    )


class _Maps(nn.Module):
    """The maps that a head reads, alone."""

    def __init__(self, backbone: Backbone, names: Sequence[str]) -> None:
        super().__init__()
        self.backbone, self.names = backbone, names
        self.eval()

    def forward(self, x_NCHW: Tensor) -> dict[str, Tensor]:
        """[N, 3, R, R] -> maps by name."""
        maps = self.backbone.features(x_NCHW)
        return {name: maps[name] for name in self.names}


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
    for size_px in dict.fromkeys(job.size_px for job in jobs):
        group = [job for job in jobs if job.size_px == size_px]
        found = find_each(
            group[0].ready.supernet,
            [Goal(table=job.table.latencies, budget=job.budget, family=job.family) for job in group],
            group[0].photos.pixels,
            task=group[0].name.task,
            seed=group[0].seed,
            progress=stage(progress, "search"),
        )
        results |= {result.device_id: result for result in found}
        scored = len({candidate.architecture for result in found for candidate in result.evaluated})
        px = format_size(size_px[::-1])
        say(f"{scored} networks scored at {px} px in {found[0].seconds:.0f} s for {len(group)} device(s)")
    return [results[job.device.id] for job in jobs]


def _search(job: Job, budget: Budget, progress: Progress, say: Say) -> SearchResult:
    (found,) = find_each(
        job.ready.supernet,
        [Goal(table=job.table.latencies, budget=budget, family=job.family)],
        job.photos.pixels,
        task=job.name.task,
        seed=job.seed,
        progress=stage(progress, "search"),
    )
    say(f"{len(found.evaluated)} networks scored in {found.seconds:.0f} s, {len(found.front)} on the front")
    return found
