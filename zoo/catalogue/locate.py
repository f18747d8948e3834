"""Locate: from a name to the folder of its package, which is made where it is not here yet.

A name is a package's folder, ``org/name`` on the Hub, a package in the cache, an entry of the curated catalogue, or a
question that a search can answer; the answer is cached.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from zoo.catalogue import Entry, find_entry
from zoo.catalogue.cache import find_cached
from zoo.catalogue.list import nearest_models
from zoo.devices.names import REFERENCE, device_id
from zoo.errors import BadName, BadPackage, BudgetMissed, StaleEntry, UnknownName
from zoo.home import home_folder
from zoo.hub.address import Address, find_address, parse_address
from zoo.names import Name, parse_name, shown
from zoo.package.card import CONFIG, Packaged, is_package, read_card
from zoo.supernets import PHOTO_SUPERNETS, read_supernet, supernet_folder, supernets_for
from zoo.types import Progress, Say, no_progress, silent


def card_of(name: str | Path) -> Packaged:
    """The card of a package folder, of org/name on the Hub, or of a package in the cache; nothing is made.

    Raises:
        UnknownName: there is none.
    """
    if (folder := as_folder(name)) is not None:
        return Packaged(card=read_card(folder), folder=folder)
    if (address := on_hub(name)) is not None:
        from zoo.hub.pull import pull_card

        return pull_card(address)
    question = as_question(str(name))
    if (found := find_cached(question, images=None, supernet=None)) is None:
        raise UnknownName(f"{question} has not been made yet; `zoo get {name} --images DIR` makes it")
    return found


def entry_of(name: str | Path) -> Entry | None:
    """The entry of the curated catalogue that answers a name.

    Raises:
        UnknownName: the text is no name.
    """
    return find_entry(as_question(str(name)))


def as_folder(name: str | Path) -> Path | None:
    """The package that ``name`` is a path of; None where it is no path.

    Raises:
        BadPackage: it is a path, but not of a package.
    """
    text = str(name)
    if not text:
        return None
    if is_package(Path(text)):
        return Path(text)
    if "://" in text and not isinstance(name, Path):
        parse_address(text)  # which says what is wrong with it, if anything is
        return None
    if isinstance(name, Path) or (os.sep in text and on_hub(name) is None) or text.startswith("."):
        raise BadPackage(f"{shown(text)} is no package: it has no {CONFIG}; name a folder that `zoo search` made")
    return None


def on_hub(name: str | Path) -> Address | None:
    """The address on the Hub that ``name`` is; None where it is a path that exists, or has not that form."""
    text = str(name)
    if isinstance(name, Path) or os.path.exists(text.partition("@")[0]):  # noqa: PTH110 - False for any odd text
        return None
    return find_address(text)


def as_question(text: str) -> Name:
    """The name, its device made definite: its own, else that of the catalogue's entry, else this machine.

    Raises:
        UnknownName: it is no name; the three nearest.
        UnknownDevice: nobody knows the device.
    """
    try:
        name = parse_name(text)
    except BadName as error:
        raise UnknownName(f"{error}; nearest: {', '.join(nearest_models(text))}") from None
    known = name if name.device is None else replace(name, device=device_id(name.device))
    if (entry := find_entry(known)) is not None:
        return entry.question
    return replace(known, device=known.device or device_id(REFERENCE))


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
    # What makes a package takes seconds to import, which one that is here need not wait for.
    from zoo.catalogue.build import package_entry
    from zoo.make.search import search

    out = home_folder("packages") / f"{question}-{secrets.token_hex(4)}"
    say(f"{question} is not here yet; making it takes a quarter of a minute, or a minute where it must be searched for")
    if images is None and supernet is None and (entry := find_entry(question)) is not None:
        try:
            return package_entry(entry, out, say=say).path
        except (StaleEntry, BudgetMissed) as error:
            say(f"{error}; searching instead")
    chosen = fullest(question, supernets_for(question, supernet), progress=progress, say=say)
    made = search(
        images,
        out=out,
        budget=question.budget,
        task=question.task,
        device=question.device or REFERENCE,
        resolution_px=question.size_px,
        supernet=None if supernet is None and chosen == supernet_folder(PHOTO_SUPERNETS[question.task][0]) else chosen,
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
    from search.subnets.costs import CostModel, load
    from zoo.devices.tables import table_for

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
