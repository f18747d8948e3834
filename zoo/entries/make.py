"""Make the catalogue: a search for every name that is wanted; those of a supernet, task and size share their scores."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from hardware_profiles.devices import find_table
from search.find import find_each
from search.hunt import Goal
from search.types import SearchResult, Task
from zoo.confirm import confirm
from zoo.entries.entry import Entry
from zoo.entries.wanted import Ask
from zoo.errors import StaleEntry
from zoo.job import Job
from zoo.make import Made, package
from zoo.names import parse_name
from zoo.photos import Photos, read_photos
from zoo.progress import Progress, Say, stage
from zoo.supernets import Ready, read_supernet
from zoo.tables import Table, this_device


def make_entries(
    asks: Sequence[Ask],
    *,
    evaluations: int = 64,
    seed: int = 0,
    progress: Progress,
    say: Say,
) -> tuple[Entry, ...]:
    """Search for every name.

    Args:
        asks: the names.
        evaluations: networks scored for each name.
        seed: of all searches.
        progress: called with (stage, done, all).
        say: receives one line for each thing that happened.

    Raises:
        MissingTable: a device has no table for the net at the resolution; none is measured or scaled here.
        InfeasibleBudget: a budget is below the fastest network.
    """
    entries = []
    for supernet, task, size_px in dict.fromkeys(_kind(ask) for ask in asks):
        group = [ask for ask in asks if _kind(ask) == (supernet, task, size_px)]
        ready = read_supernet(supernet)
        photos = read_photos(None, size_px=size_px, beside=ready.folder)
        goals = [
            Goal(
                table=find_table(ask.device, net=ready.supernet.net.name, resolution_px=size_px),
                budget=parse_name(ask.name).budget,
            )
            for ask in group
        ]
        results = find_each(
            ready.supernet,
            goals,
            photos.pixels,
            task=task,
            evaluations=evaluations,
            seed=seed,
            progress=stage(progress, f"{supernet}: {task} at {size_px} px"),
        )
        for ask, goal, result in zip(group, goals, results, strict=True):
            entries.append(_entry(ask, goal, result, ready, photos))
            say(f"{ask.name}: {result.best.predicted_ms:.3f} ms, score {result.best.score:.4f}")
    return tuple(entries)


def _kind(ask: Ask) -> tuple[str, Task, int]:
    return ask.supernet, parse_name(ask.name).task, ask.resolution_px


def package_entry(entry: Entry, out: Path, *, say: Say) -> Made:
    """The entry's network, its statistics recalibrated, compared, timed where this is its device, and packaged.

    Raises:
        StaleEntry: the supernet at hand is another one than it was cut from.
        BudgetMissed: this is its device, and the clock says no.
        ComparisonFailed: the artefact's outputs are not torch's.
    """
    ready = read_supernet(entry.supernet)
    if ready.sha256 != entry.supernet_sha256:
        raise StaleEntry(f"{entry.name} in the catalogue was made from another {entry.supernet} than the one here")
    table = find_table(entry.device, net=entry.net, resolution_px=entry.resolution_px)
    job = Job(
        name=entry.question,
        budget=entry.question.budget,
        ready=ready,
        photos=read_photos(None, size_px=entry.resolution_px, beside=ready.folder),
        table=Table(latencies=table, here=entry.device == this_device().id),
        seed=entry.seed,
    )
    found = SearchResult(
        best=entry.candidate,
        front=(entry.candidate,),
        evaluated=(entry.candidate,),
        seed=entry.seed,
        seconds=0.0,
        device_id=entry.device,
    )
    with tempfile.TemporaryDirectory(prefix="zoo-") as scratch:
        winner = confirm(job, found, job.inputs(), scratch=Path(scratch), say=say)
        return package(job, winner, out, overwrite=False, evaluated=entry.evaluated)


def _entry(ask: Ask, goal: Goal, result: SearchResult, ready: Ready, photos: Photos) -> Entry:
    best = result.best
    return Entry(
        name=ask.name,
        device=goal.table.device.id,
        source=goal.table.device.source,
        net=best.architecture.net,
        choices=best.architecture.choices,
        resolution_px=best.architecture.resolution_px,
        score=round(best.score, 6),
        predicted_ms=round(best.predicted_ms, 6),
        macs=best.macs,
        params=best.params,
        peak_memory_bytes=best.peak_memory_bytes,
        supernet=ready.supernet.card.name,
        supernet_sha256=ready.sha256,
        seed=result.seed,
        evaluated=len(result.evaluated),
        images=photos.about.fingerprint,
    )
