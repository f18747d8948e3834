"""What the catalogue lists: packages in the cache, and examples of names that the supernets at hand can answer."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zoo.cache import Packaged, cached_packages
from zoo.names import nearest
from zoo.supernets import TASKS, method_of, read_supernet, supernet_folders

_BUDGET_IN_TEXT = re.compile(r"[0-9.]+(?:ms|mmacs|mb)")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of the catalogue.

    Args:
        name: of a package in the cache, or an example of a name that a supernet can answer.
        source: ``package`` or ``supernet``.
        folder: where that is.
        measured_ms: of the package's first artefact, where it was timed.
        bytes: of that artefact.
    """

    name: str
    source: str
    folder: Path
    measured_ms: float | None
    bytes: int | None


def list_models(pattern: str = "*") -> list[Entry]:
    """What is in the cache and what can be asked for, by shell pattern, e.g. ``data-*-cls-*``."""
    entries = [*map(_package_entry, cached_packages()), *_examples("1ms")]
    return [entry for entry in entries if fnmatch.fnmatchcase(entry.name, pattern)]


def nearest_models(text: str) -> list[str]:
    """The three names most like ``text`` that are here or could be made."""
    budget = match[0] if (match := _BUDGET_IN_TEXT.search(text[:200])) else "1ms"
    known = [packaged.card.name for packaged in cached_packages()] + [entry.name for entry in _examples(budget)]
    return nearest(text, dict.fromkeys(known))


def _examples(budget: str) -> Iterator[Entry]:
    for folder in supernet_folders().values():
        about = read_supernet(folder).supernet.card
        for task in TASKS:
            name = f"{method_of(about.net)}-{about.objective}-{task}-{budget}"
            yield Entry(name=name, source="supernet", folder=folder, measured_ms=None, bytes=None)


def _package_entry(packaged: Packaged) -> Entry:
    report = packaged.card.reports[0]
    return Entry(
        name=packaged.card.name,
        source="package",
        folder=packaged.folder,
        measured_ms=report.measured.median_ms if report.measured else None,
        bytes=report.bytes,
    )
