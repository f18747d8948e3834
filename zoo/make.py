"""The main job: unlabelled images, a device and a budget in; a verified, measured, deployable network out."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from search.types import Budget, Task
from zoo.card import CONFIG
from zoo.confirm import Confirmed
from zoo.errors import UnscoredTask
from zoo.folders import check_free
from zoo.job import Job
from zoo.names import Name, parse_budget
from zoo.package import write_package
from zoo.photos import read_photos
from zoo.progress import Progress, Say, no_progress, silent, stage
from zoo.supernets import DEFAULT, TASKS, method_of, read_supernet
from zoo.tables import table_for
from zoo.types import ModelCard, Provenance
from zoo.versions import commit, zoo_version
from zoo.winner import find_winner

LICENSE = "apache-2.0"
_SHOWN_SKIPPED = 5


@dataclass(frozen=True, kw_only=True)
class Made:
    """A package that was made: its folder and its card."""

    path: Path
    card: ModelCard


def search(
    images: str | Path | None = None,
    *,
    out: str | Path,
    budget: str | Budget,
    task: str | Task = Task.CLS,
    device: str = "this",
    supernet: str | Path = DEFAULT,
    resolution_px: int | None = None,
    threads: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = no_progress,
    say: Say = silent,
) -> Made:
    """Find the network that does best on a folder of unlabelled images within a budget, and package it.

    Args:
        images: the folder; None takes generated ones (dead leaves), and the card says so.
        out: the package's folder; it appears when everything has succeeded.
        budget: ``3ms``, ``20mmacs``, ``1mb``, or a ``Budget`` that has a name.
        task: ``cls``, ``det`` or ``seg``.
        device: ``this``, or the id of a device with a latency table.
        supernet: a name or a folder.
        resolution_px: side of the input, in pixels; None takes the supernet's.
        threads: of the runtime on this machine; None takes the table's own.
        seed: same seed, same images, same table: same network.
        overwrite: replace an earlier package at ``out``.
        progress: called with (stage, done, all).
        say: receives one line for each thing that happened.

    Raises:
        OutputExists: ``out`` is not empty.
        UnknownName: no such supernet or device.
        NotEnoughImages: too few images can be read.
        InfeasibleBudget: the budget is below the fastest network.
        BudgetMissed: the table said yes and the clock said no.
        ComparisonFailed: the artefact's outputs are not torch's.

    Example:
        >>> zoo.search("photos", budget="1ms", out="my-model").path  # doctest: +SKIP
        PosixPath('my-model')
    """
    out, task, budget = Path(out), Task(task), parse_budget(budget) if isinstance(budget, str) else budget
    check_free(out, mark=CONFIG, overwrite=overwrite)
    if task not in TASKS:
        raise UnscoredTask(f"task {task} has no score yet; ask for {' or '.join(TASKS)}")
    ready = read_supernet(supernet)
    about = ready.supernet.card
    size_px = resolution_px or about.resolution_px
    folder = None if images is None else Path(images)
    photos = read_photos(folder, size_px=size_px, progress=stage(progress, "images"))
    say(f"{photos.about.count} images, {photos.about.skipped} skipped")
    for line in photos.skipped[:_SHOWN_SKIPPED]:
        say(f"  skipped {line}")
    table = table_for(device, about.net, size_px, threads=threads, progress=progress, say=say)
    name = Name(
        method=method_of(about.net),
        objective=about.objective,
        task=task,
        budget=budget,
        device=table.latencies.device.id,
    )
    job = Job(name=name, ready=ready, photos=photos, table=table, seed=seed)
    with tempfile.TemporaryDirectory(prefix="zoo-") as scratch:
        winner = find_winner(job, scratch=Path(scratch), progress=progress, say=say)
        card = write_package(out, card=_card(job, winner), backbone=winner.backbone, overwrite=overwrite)
    return Made(path=out, card=card)


def _card(job: Job, winner: Confirmed) -> ModelCard:
    return ModelCard(
        name=str(job.name),
        architecture=winner.tries[-1].architecture,
        task=job.name.task,
        recipe=_provenance(job, winner),
        preprocess=job.preprocess,
        reports=(winner.report,),
        evaluation=(),
        license=LICENSE,
        images=job.photos.about,
        commit=commit(),
        zoo_version=zoo_version(),
    )


def _provenance(job: Job, winner: Confirmed) -> Provenance:
    about = job.ready.supernet.card
    return Provenance(
        supernet=about.name,
        supernet_sha256=job.ready.sha256,
        supernet_recipe=json.loads(json.dumps(dict(about.recipe))),
        supernet_data=json.loads(json.dumps(dict(about.data))),
        device=job.device,
        table_validation=job.table.latencies.validation,
        seed=job.seed,
        evaluated=len(winner.result.evaluated),
        seconds=winner.result.seconds,
        tries=winner.tries,
    )
