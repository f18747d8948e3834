"""The catalogue: from a name to a model.

A name is a package's folder, ``org/name`` on the Hub, a package in the cache, an entry of the curated catalogue, or a
question that a search can answer; the answer is cached.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from zoo.cache import find_cached
from zoo.device_names import REFERENCE
from zoo.entries import find_entry
from zoo.entries.make import package_entry
from zoo.errors import BudgetMissed, StaleEntry
from zoo.fullest import fullest
from zoo.home import home_folder
from zoo.lookup import as_folder, as_question, on_hub
from zoo.make import search
from zoo.model import Model
from zoo.names import Name
from zoo.package import load_package
from zoo.progress import Progress, Say, no_progress, silent
from zoo.supernets import supernets_for


def get(
    name: str | Path,
    *,
    images: str | Path | None = None,
    supernet: str | None = None,
    verify: bool = False,
    progress: Progress = no_progress,
    say: Say = silent,
) -> Model:
    """The model of that name, ready to use.

    Args:
        name: a package's folder, ``org/name`` or ``org/name@revision`` on the Hub, or a name such as
            ``data-mocov2-cls-1ms`` (without a device: the one of the catalogue's entry, else this machine).
        images: a folder of unlabelled images to search on, where the answer is not in the cache; without one, the
            catalogue answers, or a search on images generated from statistics of the supernet's training images.
        supernet: the supernet to search; by default the one trained with the name's objective.
        verify: replay the package's golden tensors before returning it.
        progress: called with (stage, done, all).
        say: receives one line for each thing that happened.

    Raises:
        UnknownName: nothing has that name, and nothing can be made for it.
        BadPackage: the package is damaged.
        HubError: it is not on the Hub, may not be seen, or cannot be reached; NotInCache where offline.
        VerificationFailed: it does not reproduce its golden outputs.

    Example:
        >>> model = zoo.get("data-mocov2-cls-1ms", images="photos")  # doctest: +SKIP
    """
    if (address := on_hub(name)) is not None:
        from zoo.pull import pull

        return pull(address, verify=verify, progress=progress, say=say)
    folder = locate(name, images=images, supernet=supernet, progress=progress, say=say)
    return load_package(folder, verify=verify)


def locate(
    name: str | Path,
    *,
    images: str | Path | None = None,
    supernet: str | None = None,
    progress: Progress = no_progress,
    say: Say = silent,
) -> Path:
    """The package's folder, made where needed; arguments and errors as ``get``."""
    if (folder := as_folder(name)) is not None:
        return folder
    if (address := on_hub(name)) is not None:
        from zoo.pull import pull_folder

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
