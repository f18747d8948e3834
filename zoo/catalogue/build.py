"""Make the catalogue: a search for every name that is wanted; those of a supernet, task and size share their scores."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

from hardware_profiles.replace_file import replace_file
from hardware_profiles.tables.find import BUNDLED, keep_table
from hardware_profiles.types import DeviceProfile
from search.nets import Net
from search.nets.heads import CLASSES
from search.nets.whole import Headed, family_for
from search.subnets.evolution import find_each
from search.subnets.proposals import Goal
from search.types import Candidate, SearchResult, Task
from zoo.catalogue.contents import Ask, cell_asks, reference_tables, wanted
from zoo.catalogue.entries import ENTRIES, Entry, entries_text, load_entries
from zoo.cli.console import Talk
from zoo.devices.fitted import find_table
from zoo.devices.tables import Table, quality, this_device
from zoo.devices.this_machine import Setting, measure_here
from zoo.errors import StaleEntry, exit_code, one_line
from zoo.make.confirm import confirm
from zoo.make.images import Photos, read_photos
from zoo.make.job import Job
from zoo.make.search import Made, package
from zoo.names import Name, parse_name
from zoo.supernets import PHOTO_NETS, Ready, read_supernet
from zoo.types import Progress, Say, stage


def make_entries(
    asks: Sequence[Ask],
    *,
    evaluations: int = 64,
    seed: int = 0,
    timed: bool = False,
    progress: Progress,
    say: Say,
) -> tuple[Entry, ...]:
    """Search for every name.

    Args:
        asks: the names.
        evaluations: networks scored for each name.
        seed: of all searches.
        timed: let the clock have the last word where this machine is a name's device.
        progress: called with (stage, done, all).
        say: receives one line for each thing that happened.

    Raises:
        MissingTable: a device has no table for the net at the resolution; none is measured or scaled here.
        InfeasibleBudget: a budget is below the fastest network.
        BudgetMissed: a network that the clock was to confirm is late, and so were those tried in its place.
    """
    entries = []
    for supernet, task, size_px in dict.fromkeys(_kind(ask) for ask in asks):
        group = [ask for ask in asks if _kind(ask) == (supernet, task, size_px)]
        ready = read_supernet(supernet)
        photos = read_photos(None, size_px=size_px, beside=ready.folder)
        family = family_for(ready.supernet.net, task, CLASSES)
        goals = [
            Goal(
                table=find_table(ask.device, net=ready.supernet.net.name, resolution_px=size_px),
                budget=parse_name(ask.name).budget,
                family=family,
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
            if timed and _is_here(goal.table.device):
                table = Table(latencies=goal.table, here=True)
                name = parse_name(ask.name)
                best, measured_ms = _in_time(_job(name, ready, photos, table, seed, family), result, say)
            else:
                best, measured_ms = result.best, None
            entries.append(_entry(ask, goal, replace(result, best=best), measured_ms, ready, photos))
            say(f"{ask.name}: {best.predicted_ms:.3f} ms, score {best.score:.4f}")
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
    job = _job(
        entry.question,
        ready,
        read_photos(None, size_px=entry.resolution_px, beside=ready.folder),
        Table(latencies=table, here=entry.device == this_device().id),
        entry.seed,
        family_for(ready.supernet.net, entry.task, entry.classes) if entry.classes else ready.supernet.net,
    )
    found = SearchResult(
        best=entry.candidate,
        front=(entry.candidate,),
        evaluated=(entry.candidate,),
        criterion=entry.criterion,
        seed=entry.seed,
        seconds=0.0,
        device_id=entry.device,
    )
    with tempfile.TemporaryDirectory(prefix="zoo-") as scratch:
        winner = confirm(job, found, job.inputs(), scratch=Path(scratch), say=say)
        return package(job, winner, out, overwrite=False, evaluated=entry.evaluated)


def _job(name: Name, ready: Ready, photos: Photos, table: Table, seed: int, family: Net) -> Job:
    return Job(name=name, budget=name.budget, ready=ready, photos=photos, table=table, seed=seed, family=family)


def _is_here(device: DeviceProfile) -> bool:
    """Whether this machine is of the device's kind, used in its way."""
    here = this_device(device.threads)
    return all(getattr(here, part) == getattr(device, part) for part in ("chip", "runtime", "precision", "threads"))


def _in_time(job: Job, result: SearchResult, say: Say) -> tuple[Candidate, float | None]:
    """The best network that keeps the budget by the clock, and its milliseconds."""
    with tempfile.TemporaryDirectory(prefix="zoo-") as scratch:
        last = confirm(job, result, job.inputs(), scratch=Path(scratch), say=say).tries[-1]
    known = {one.architecture: one for one in (*result.front, result.best)}
    return known[last.architecture], last.measured_ms


def _entry(
    ask: Ask, goal: Goal, result: SearchResult, measured_ms: float | None, ready: Ready, photos: Photos
) -> Entry:
    best = result.best
    return Entry(
        name=ask.name,
        device=goal.table.device.id,
        source=goal.table.device.source,
        net=best.architecture.net,
        choices=best.architecture.choices,
        resolution_px=best.architecture.resolution_px,
        score=round(best.score, 6),
        criterion=result.criterion,
        predicted_ms=round(best.predicted_ms, 6),
        measured_ms=None if measured_ms is None else round(measured_ms, 4),
        macs=best.macs,
        params=best.params,
        peak_memory_bytes=best.peak_memory_bytes,
        supernet=ready.supernet.card.name,
        supernet_sha256=ready.sha256,
        seed=result.seed,
        evaluated=len(result.evaluated),
        images=photos.about.fingerprint,
        classes=goal.family.classes if isinstance(goal.family, Headed) else None,
    )


_NETWORKS = 150  # whole networks that a shipped table is checked on; two of three have a head


def measure_reference(
    nets: Sequence[str], *, force: bool, progress: Progress, say: Say, folder: Path = BUNDLED
) -> list[Path]:
    """Measure this machine as the reference device, at every size and use of it, and keep the tables in ``folder``.

    Args:
        nets: for which.
        force: measure although other work runs here.
        progress: called with (stage, done, all).
        say: receives one line a table.
        folder: where the tables go.

    Raises:
        NoisyMachine: other work runs here, and not ``force``.
    """
    paths = []
    for one in (table for table in reference_tables() if table.net in nets):
        used = Setting(precision=one.precision, threads=one.threads)
        table = measure_here(one.net, one.size_px, setting=used, force=force, validate_on=_NETWORKS, progress=progress)
        device = replace(table.device, id=one.device, reference="python -m zoo.catalogue.build --measure")
        table = replace(table, device=device)
        paths.append(keep_table(table, folder))
        say(f"{paths[-1].name}: {quality(table)}")
    return paths


def main() -> int:
    """Write ``entries.json`` in one step, and only when every name has an answer."""
    parser = argparse.ArgumentParser(prog="python -m zoo.catalogue", description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=ENTRIES)
    parser.add_argument("--evaluations", type=int, default=64, help="networks scored for each name")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=["*"], help="make names like '*@galaxy-*' anew, and keep the rest")
    parser.add_argument(
        "--measure",
        nargs="*",
        choices=PHOTO_NETS,
        metavar="NET",
        help="measure this machine as the reference device first: for all photo nets, or those named",
    )
    parser.add_argument("--force", action="store_true", help="measure although other work runs here")
    parser.add_argument("--time", action="store_true", help="time the names of this machine's kind; it must be idle")
    args = parser.parse_args()
    talk = Talk(as_json=False, quiet=False)
    try:
        with talk.progress() as progress:
            if args.measure is not None:
                measure_reference(args.measure or PHOTO_NETS, force=args.force, progress=progress, say=talk.say)
            asks = (*wanted(), *cell_asks())
            names = {ask.name for ask in asks}
            kept = [] if args.only == ["*"] else [one for one in load_entries() if one.name in names]
            kept = [one for one in kept if not any(fnmatch(one.name, like) for like in args.only)]
            asks = tuple(ask for ask in asks if ask.name not in {one.name for one in kept})
            entries = make_entries(
                asks,
                evaluations=args.evaluations,
                seed=args.seed,
                timed=args.time,
                progress=progress,
                say=talk.say,
            )
            entries = (*kept, *entries)
        replace_file(args.out, entries_text(entries))
    except Exception as error:
        print(f"zoo: {one_line(error)}", file=sys.stderr)
        return exit_code(error)
    print(f"{args.out}: {len(entries)} entries")
    return 0


if __name__ == "__main__":
    sys.exit(main())
