"""The supernets at hand, read and checked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from search.supernet import WEIGHTS, Supernet, load_supernet
from zoo.errors import UnknownName
from zoo.names import Name, nearest, shown
from zoo.supernet_names import method_of, supernet_folder, supernet_folders, supernet_names

DEFAULT = "mobile-mocov2"


@dataclass(frozen=True, kw_only=True, eq=False)
class Ready:
    """A supernet that was read and checked, where it lies, and the digest of its weight file."""

    supernet: Supernet
    folder: Path
    sha256: str


def read_supernet(name_or_folder: str | Path) -> Ready:
    """Find, check and read a supernet.

    Raises:
        UnknownName: neither a folder with a supernet nor the name of one.
        BadSupernet: it is damaged.
    """
    folder = find_supernet(name_or_folder)
    supernet = load_supernet(folder)
    sha256 = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    return Ready(supernet=supernet, folder=folder, sha256=sha256)


def find_supernet(name_or_folder: str | Path) -> Path:
    """The folder of a supernet.

    Raises:
        UnknownName: neither a folder with a supernet nor the name of one.
    """
    if (folder := supernet_folder(str(name_or_folder))) is not None:
        return folder
    known = nearest(str(name_or_folder), supernet_folders())
    raise UnknownName(
        f"no supernet is called {shown(str(name_or_folder))}; {_nearest_text(known)}`zoo pretrain` makes one"
    )


def supernets_for(name: Name, asked: str | None = None) -> list[Path]:
    """The supernets that can answer a name: the one asked for, else all that were trained with its objective.

    Raises:
        UnknownName: it does not fit the name, or there is none that does.
    """
    known = {one.folder: f"{one.method}-{one.objective}" for one in supernet_names()}
    if asked is not None:
        folder = find_supernet(asked)
        about = load_supernet(folder).card
        known = {folder: f"{method_of(about.net)}-{about.objective}"}
    if fitting := [folder for folder, answers in known.items() if answers == f"{name.method}-{name.objective}"]:
        return fitting
    found = f"there is {', '.join(dict.fromkeys(known.values()))}" if known else "there is none at all"
    makes = "darts" if name.method == "ssnas" else f"pretrain --objective {name.objective}"
    raise UnknownName(
        f"{name} needs a supernet for {name.method}-{name.objective}, and {found}; `zoo {makes}` makes one"
    )


def _nearest_text(known: list[str]) -> str:
    return f"nearest: {', '.join(known)}; " if known else ""
