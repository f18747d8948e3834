"""The catalogue: from a name to a model.

A name is a package's folder, a package in the cache, or a question that a search can answer; the answer is cached.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from zoo.cache import Packaged, find_cached
from zoo.card import CONFIG
from zoo.errors import BadName, BadPackage, UnknownName
from zoo.home import home_folder
from zoo.listing import nearest_models
from zoo.make import search
from zoo.model import Model
from zoo.names import Name, parse_name, shown
from zoo.package import is_package, load_package, read_card
from zoo.progress import Progress, Say, no_progress, silent
from zoo.supernets import supernet_for
from zoo.tables import REFERENCE, device_id


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
        name: a package's folder, or a name such as ``data-mocov2-cls-1ms`` (without a device: this machine).
        images: a folder of unlabelled images to search on, where the answer is not in the cache; without one,
            generated images (dead leaves) stand in.
        supernet: the supernet to search; by default the one trained with the name's objective.
        verify: replay the package's golden tensors before returning it.
        progress: called with (stage, done, all).
        say: receives one line for each thing that happened.

    Raises:
        UnknownName: nothing has that name, and nothing can be made for it.
        BadPackage: the package is damaged.
        VerificationFailed: it does not reproduce its golden outputs.

    Example:
        >>> model = zoo.get("data-mocov2-cls-1ms", images="photos")  # doctest: +SKIP
    """
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
    if (folder := _as_folder(name)) is not None:
        return folder
    question = _question(str(name))
    if (found := find_cached(question, images=images, supernet=supernet)) is not None:
        return found.folder
    with _sole_maker(question, say):
        if (found := find_cached(question, images=images, supernet=supernet)) is not None:
            return found.folder
        return _make(question, images, supernet, progress, say)


def card_of(name: str | Path) -> Packaged:
    """The card of a package folder or of a package in the cache; nothing is made.

    Raises:
        UnknownName: there is none.
    """
    if (folder := _as_folder(name)) is not None:
        return Packaged(card=read_card(folder), folder=folder)
    question = _question(str(name))
    if (found := find_cached(question, images=None, supernet=None)) is None:
        raise UnknownName(f"{question} has not been made yet; `zoo get {name} --images DIR` makes it")
    return found


def _as_folder(name: str | Path) -> Path | None:
    """The package that ``name`` is a path of; None where it is no path."""
    text = str(name)
    if len(text) > 4000 or "\0" in text or not text:
        return None
    if is_package(Path(text)):
        return Path(text)
    if isinstance(name, Path) or os.sep in text or text.startswith("."):
        raise BadPackage(f"{shown(text)} is no package: it has no {CONFIG}; name a folder that `zoo search` made")
    return None


def _question(text: str) -> Name:
    """The name, its device made definite."""
    try:
        name = parse_name(text)
    except BadName as error:
        raise UnknownName(f"{error}; nearest: {', '.join(nearest_models(text))}") from None
    return replace(name, device=device_id(name.device or REFERENCE))


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
    made = search(
        images,
        out=home_folder("packages") / f"{question}-{secrets.token_hex(4)}",
        budget=question.budget,
        task=question.task,
        device=question.device or REFERENCE,
        supernet=supernet_for(question, supernet),
        progress=progress,
        say=say,
    )
    return made.path
