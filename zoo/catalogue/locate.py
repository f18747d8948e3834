"""Locate: from a name to the folder of its package, which is made where it is not here yet.

A name is a package's folder, ``org/name`` on the Hub, a package in the cache, an entry of the curated catalogue, or a
question that a search can answer; the answer is cached.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from search.subnets.costs import CostModel, load
from zoo.catalogue import find_entry
from zoo.catalogue.build import package_entry
from zoo.catalogue.cache import find_cached
from zoo.catalogue.resolve import as_folder, as_question, on_hub
from zoo.devices.names import REFERENCE
from zoo.devices.tables import table_for
from zoo.errors import BudgetMissed, StaleEntry
from zoo.home import home_folder
from zoo.make.search import search
from zoo.names import Name
from zoo.progress import Progress, Say, no_progress, silent
from zoo.supernets import read_supernet, supernets_for


def locate(
    name: str | Path,
    *,
    images: str | Path | None = None,
    supernet: str | None = None,
    progress: Progress = no_progress,
    say: Say = silent,
) -> Path:
    """The package's folder, made where needed; arguments and errors as ``zoo.get``."""
    if (folder := as_folder(name)) is not None:
        return folder
    if (address := on_hub(name)) is not None:
        from zoo.hub.pull import pull_folder

        return pull_folder(address, progress=progress, say=say)
    question = as_question(str(name))
    if (found := find_cached(question, images=images, supernet=supernet)) is not None:
        return found.folder
    with _sole_maker(question, say):
        if (found := find_cached(question, images=images, supernet=supernet)) is not None:
            return found.folder
        return _make(question, images, supernet, progress, say)


@contextmanager
def _sole_maker(question: Name, say: Say) -> Iterator[None]:
    """One process at a time makes the answer to ``question``; the others wait, and then find it."""
    lock = FileLock(home_folder("packages") / f".{question}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"another process is making {question}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _make(question: Name, images: str | Path | None, supernet: str | None, progress: Progress, say: Say) -> Path:
    out = home_folder("packages") / f"{question}-{secrets.token_hex(4)}"
    if images is None and supernet is None and (entry := find_entry(question)) is not None:
        try:
            return package_entry(entry, out, say=say).path
        except (StaleEntry, BudgetMissed) as error:
            say(f"{error}; searching instead")
    made = search(
        images,
        out=out,
        budget=question.budget,
        task=question.task,
        device=question.device or REFERENCE,
        supernet=fullest(question, supernets_for(question, supernet), progress=progress, say=say),
        progress=progress,
        say=say,
    )
    return made.path


def fullest(name: Name, folders: Sequence[Path], *, progress: Progress, say: Say) -> Path:
    """One of ``folders``; where no single network meets the budget, the one that is nearest to it.

    Args:
        name: with the device whose milliseconds count.
        folders: of supernets; at least one.
        progress: called with (stage, done, all) where this machine must be measured first.
        say: receives one line for each thing that happened.

    Raises:
        UnknownDevice: no such device.
        MissingTable: it has no table of a network's net.
    """
    if len(folders) == 1:
        return folders[0]
    used = {}
    for folder in folders:
        about = read_supernet(folder).supernet.card
        if about.architecture is None:
            return folder
        family, px = about.family, about.resolution_px
        table = table_for(name.device or REFERENCE, about.net, px, progress=progress, say=say)
        costs = CostModel(family, table.latencies)(family.encode([family.largest(px)]))
        used[folder] = float(load(costs, name.budget)[0])
    fitting = {folder: share for folder, share in used.items() if share <= 1}
    chosen = max(fitting, key=lambda f: fitting[f]) if fitting else min(used, key=lambda f: used[f])
    say(f"{chosen.name} uses {100 * used[chosen]:.0f} % of the budget, the nearest of {len(used)} networks")
    return chosen
