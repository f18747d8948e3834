"""The supernets at hand: those that come with the zoo, and the user's own under ``ZOO_HOME/supernets``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from search.supernet import CARD, WEIGHTS, Supernet, load_supernet
from search.types import Task
from zoo.errors import UnknownName
from zoo.home import zoo_home
from zoo.names import Name, nearest, shown

BUNDLED = Path(__file__).parent / "weights"
DEFAULT = "mobile-mocov2"
# What networks can be scored for.
TASKS = (Task.CLS,)

# The SSNAS method searches the cell net; all other nets are DATA's.
_METHOD_OF_NET = {"cell": "ssnas"}


def supernet_folders() -> dict[str, Path]:
    """Folders by name; the user's own wins over a bundled one of the same name."""
    folders: dict[str, Path] = {}
    for parent in (BUNDLED, zoo_home() / "supernets"):
        if parent.is_dir():
            folders |= {path.name: path for path in sorted(parent.iterdir()) if (path / CARD).is_file()}
    return folders


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
    folders = supernet_folders()
    if str(name_or_folder) in folders:
        return folders[str(name_or_folder)]
    folder = Path(name_or_folder)
    if len(str(folder)) < 1000 and (folder / CARD).is_file():
        return folder
    known = nearest(str(name_or_folder), folders)
    raise UnknownName(
        f"no supernet is called {shown(str(name_or_folder))}; {_nearest_text(known)}`zoo pretrain` makes one"
    )


def supernet_for(name: Name, asked: str | None = None) -> Path:
    """The supernet to answer a name with: the one asked for, else the first that was trained with its objective.

    Raises:
        UnknownName: it does not fit the name, or there is none that does.
    """
    folders = [find_supernet(asked)] if asked is not None else list(supernet_folders().values())
    have: list[str] = []
    for folder in folders:
        about = load_supernet(folder).card
        have.append(f"{method_of(about.net)}-{about.objective}")
        if have[-1] == f"{name.method}-{name.objective}":
            return folder
    found = f"there is {', '.join(dict.fromkeys(have))}" if have else "there is none at all"
    raise UnknownName(
        f"{name} needs a supernet for {name.method}-{name.objective}, and {found};"
        f" `zoo pretrain --objective {name.objective}` makes one"
    )


def method_of(net: str) -> str:
    """The method that a net belongs to."""
    return _METHOD_OF_NET.get(net, "data")


def _nearest_text(known: list[str]) -> str:
    return f"nearest: {', '.join(known)}; " if known else ""
