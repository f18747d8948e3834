"""The main job: unlabelled images, a device and a budget in; a verified, measured, deployable network out."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.nets.whole import Headed
from search.scores.evidence import expectation
from search.types import Budget, Candidate, SearchResult, Task
from zoo.checks import Count, Seed, Threads
from zoo.errors import MissingExtra
from zoo.heads.network import KINDS, Network
from zoo.home import commit, zoo_version
from zoo.make.confirm import Confirmed, class_names, find_winner, search_jobs
from zoo.make.job import Job, prepare
from zoo.names import format_budget, parse_budget
from zoo.package.card import CONFIG
from zoo.package.folder import Attachment, write_package
from zoo.package.history import HISTORY, history_text
from zoo.package.staging import check_free, staged
from zoo.plots import plot_fronts
from zoo.progress import Watch, watching
from zoo.report.sections import write_beside
from zoo.types import HeadCard, ModelCard, Provenance, Say, TaskName, tell

LICENSE = "apache-2.0"


@dataclass(frozen=True, kw_only=True)
class Made:
    """A package that was made: its folder and its card."""

    path: Path
    card: ModelCard


@dataclass(frozen=True, kw_only=True)
class MadeEach:
    """A package a device in one folder, the searches behind them, and the plot where it could be drawn."""

    path: Path
    made: tuple[Made, ...]
    results: tuple[SearchResult, ...]
    plot: Path | None


def search(
    images: str | Path | None = None,
    *,
    out: str | Path,
    budget: str | Budget,
    task: TaskName = Task.CLS,
    device: str = "this",
    supernet: str | Path | None = None,
    resolution_px: Count | tuple[Count, Count] | None = None,
    limits: Budget | None = None,
    classes: Count | None = None,
    threads: Threads | None = None,
    seed: Seed = 0,
    overwrite: bool = False,
    progress: Watch = "auto",
    say: Say = tell,
) -> Made:
    """Find the network that does best on a folder of unlabelled images within a budget, and package it.

    Args:
        images: the folder; None takes generated ones, and the card says so.
        out: the package's folder; it appears when everything has succeeded.
        budget: ``3ms``, ``20mmacs``, ``1mb``, or a ``Budget`` that has a name.
        task: ``cls``, ``det`` or ``seg``.
        device: ``this``, or the id or alias of a device with a latency table.
        supernet: a name or a folder; None takes the first one for photos with a choice of networks within it.
        resolution_px: side of the input, in pixels, or its width and height; None takes 160 of a classifier of photos,
            224 of a detector or a segmenter; of small images the supernet's, and for ``det`` and ``seg`` twice that
            where the device has a table for it.
        limits: on parameters, multiply-accumulates and memory, beside the budget.
        classes: of the head that a detector or a segmenter is budgeted, timed and packaged with; None takes 20. Its
            weights are those of the seed until labels train it.
        threads: of the runtime on this machine; None takes the table's own.
        seed: same seed, same images, same table: same network.
        overwrite: replace an earlier package at ``out``.
        progress: ``auto`` (bars or lines, as fits), None, or a function called with (stage, done, all).
        say: receives one line for each thing that happened.

    Raises:
        OutputExists: ``out`` is not empty.
        UnknownName: no such supernet.
        UnknownDevice: no such device.
        NotEnoughImages: too few images can be read.
        InfeasibleBudget: the budget is below the fastest network.
        BudgetMissed: the table said yes and the clock said no.
        ComparisonFailed: the artefact's outputs are not torch's.

    Example:
        >>> zoo.search("photos", budget="1ms", out="my-model").path  # doctest: +SKIP
        PosixPath('my-model')
    """
    progress = watching(progress)
    out = Path(out)
    check_free(out, mark=CONFIG, overwrite=overwrite)
    (job,) = prepare(
        [device],
        [_budget(budget)],
        limits=limits,
        images=None if images is None else Path(images),
        task=Task(task),
        supernet=supernet,
        resolution_px=resolution_px,
        threads=threads,
        classes=classes,
        seed=seed,
        progress=progress,
        say=say,
    )
    with tempfile.TemporaryDirectory(prefix="zoo-") as scratch:
        winner = find_winner(job, scratch=Path(scratch), progress=progress, say=say)
        made = package(job, winner, out, overwrite=overwrite)
    say(expectation(job.name.task, winner.result.criterion))
    write_beside(made.path, say=say)
    return made


def search_each(
    images: str | Path | None = None,
    *,
    out: str | Path,
    devices: Sequence[str],
    budgets: Sequence[str | Budget],
    task: TaskName = Task.CLS,
    supernet: str | Path | None = None,
    resolution_px: Count | tuple[Count, Count] | None = None,
    limits: Budget | None = None,
    classes: Count | None = None,
    threads: Threads | None = None,
    seed: Seed = 0,
    overwrite: bool = False,
    progress: Watch = "auto",
    say: Say = tell,
) -> MadeEach:
    """As ``search``, for several devices at once: every network is scored once for all of them.

    Args:
        images: see ``search``.
        out: a folder with a package for each device under its id, all fronts in ``fronts.json``, and a plot of them.
        devices: ids or aliases.
        budgets: one for all devices, or one for each.
        task: see ``search``.
        supernet: see ``search``.
        resolution_px: see ``search``.
        limits: see ``search``.
        classes: see ``search``.
        threads: see ``search``.
        seed: see ``search``.
        overwrite: replace an earlier result at ``out``.
        progress: see ``search``.
        say: see ``search``.

    Raises:
        BadRequest: numbers of devices and budgets that do not fit, or a device twice; else as ``search``.
    """
    progress = watching(progress)
    out = Path(out)
    check_free(out, mark=FRONTS, overwrite=overwrite)
    jobs = prepare(
        devices,
        [_budget(budget) for budget in budgets],
        limits=limits,
        images=None if images is None else Path(images),
        task=Task(task),
        supernet=supernet,
        resolution_px=resolution_px,
        threads=threads,
        classes=classes,
        seed=seed,
        progress=progress,
        say=say,
    )
    results = search_jobs(jobs, progress=progress, say=say)
    say(expectation(jobs[0].name.task, results[0].criterion))
    cards = []
    with tempfile.TemporaryDirectory(prefix="zoo-") as scratch, staged(out, mark=FRONTS, overwrite=overwrite) as draft:
        for job, found in zip(jobs, results, strict=True):
            winner = find_winner(job, scratch=Path(scratch), progress=progress, say=say, found=found)
            cards.append(package(job, winner, draft / job.device.id, overwrite=False).card)
        plot = write_fronts(draft, jobs, results, cards, say=say)
    made = tuple(Made(path=out / job.device.id, card=card) for job, card in zip(jobs, cards, strict=True))
    for one in made:
        write_beside(one.path, say=say)
    return MadeEach(path=out, made=made, results=tuple(results), plot=None if plot is None else out / plot)


def package(job: Job, winner: Confirmed, out: Path, *, overwrite: bool, evaluated: int | None = None) -> Made:
    """Write what a job ended with to ``out``; ``evaluated`` networks were scored, where the result holds not all."""
    card = _card(job, winner, len(winner.result.evaluated) if evaluated is None else evaluated)
    with tempfile.TemporaryDirectory(prefix="zoo-") as scratch:
        kept = Path(scratch, HISTORY)
        kept.write_text(history_text(winner.result, budget_ms=job.budget.latency_ms), "utf-8", newline="\n")
        history = [Attachment(path=HISTORY, source=kept)]
        network = None if winner.head is None else Network(winner.backbone, winner.head, job.name.task).eval()
        card = write_package(
            out, card=card, backbone=winner.backbone, network=network, overwrite=overwrite, attachments=history
        )
    return Made(path=out, card=card)


def _budget(budget: str | Budget) -> Budget:
    return parse_budget(budget) if isinstance(budget, str) else budget


def _card(job: Job, winner: Confirmed, evaluated: int) -> ModelCard:
    return ModelCard(
        name=str(job.name),
        architecture=winner.tries[-1].architecture,
        task=job.name.task,
        recipe=_provenance(job, winner, evaluated),
        preprocess=job.preprocess,
        reports=(winner.report,),
        evaluation=(),
        license=LICENSE,
        images=job.photos.about,
        commit=commit(),
        zoo_version=zoo_version(),
        head=_head(job),
        split=winner.split,
    )


def _head(job: Job) -> HeadCard | None:
    if not isinstance(job.family, Headed):
        return None
    return HeadCard(kind=KINDS[job.family.task], task=job.family.task, classes=class_names(job), trained=False)


def _provenance(job: Job, winner: Confirmed, evaluated: int) -> Provenance:
    about = job.ready.supernet.card
    return Provenance(
        supernet=about.name,
        supernet_sha256=job.ready.sha256,
        supernet_recipe=json.loads(json.dumps(dict(about.recipe))),
        supernet_data=json.loads(json.dumps(dict(about.data))),
        device=job.device,
        table_validation=job.table.latencies.validation,
        table_scaling=job.table.latencies.scaling,
        seed=job.seed,
        evaluated=evaluated,
        seconds=winner.result.seconds,
        tries=winner.tries,
        limits=None if job.budget == job.name.budget else job.budget,
        criterion=winner.result.criterion,
    )


SCHEMA = 1
FRONTS, PLOT = "fronts.json", "fronts.png"


def write_fronts(
    folder: Path, jobs: Sequence[Job], results: Sequence[SearchResult], cards: Sequence[ModelCard], *, say: Say
) -> str | None:
    """Write both files into ``folder``; without matplotlib only the first.

    Returns:
        The plot's file name; None where it could not be drawn, which is said.
    """
    document = fronts_document(jobs, results, cards)
    (folder / FRONTS).write_text(json.dumps(document, indent=1) + "\n", "utf-8", newline="\n")
    try:
        plot_fronts(results, folder / PLOT, sources=[job.device.source for job in jobs])
    except MissingExtra as error:
        say(str(error))
        return None
    return PLOT


def fronts_document(jobs: Sequence[Job], results: Sequence[SearchResult], cards: Sequence[ModelCard]) -> dict[str, Any]:
    """All fronts as plain values: for each device its budget, the packaged network, the front and all that was seen."""
    first = jobs[0]
    return {
        "schema": SCHEMA,
        "task": str(first.name.task),
        "supernet": first.ready.supernet.card.name,
        "supernet_sha256": first.ready.sha256,
        "seed": first.seed,
        "devices": [
            {
                "device": job.device.id,
                "table": job.device.source,
                "budget": format_budget(job.name.budget),
                "resolution_px": job.resolution_px,
                "packaged": list(card.architecture.choices),
                "front": [_candidate(candidate) for candidate in result.front],
                "evaluated": [[c.predicted_ms, c.score] for c in result.evaluated],
            }
            for job, result, card in zip(jobs, results, cards, strict=True)
        ],
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    fields = {key: value for key, value in vars(candidate).items() if key != "architecture"}
    return {"choices": list(candidate.architecture.choices), **fields}
