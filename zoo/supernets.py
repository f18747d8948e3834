"""The supernets at hand, read and checked."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardware_profiles.plain_text import read_plain_json
from search.types import Task
from zoo.errors import UnknownName
from zoo.home import zoo_home
from zoo.names import Name, nearest, shown

if TYPE_CHECKING:
    from search.supernet import Supernet

_MOBILE, _TAUGHT = "mobile-photo-mocov2", "resnet-photo-mocov2-taught"
# A search takes the first one with a choice of networks within its budget, unless it is told which. At equal
# milliseconds ResNets are the better classifiers, frozen or fine-tuned, the others better at some detection and
# segmentation (docs/method.md), and there are networks of theirs for smaller budgets.
PHOTO_SUPERNETS = {Task.CLS: (_TAUGHT, _MOBILE), Task.DET: (_MOBILE,), Task.SEG: (_MOBILE,)}
DEFAULT = PHOTO_SUPERNETS[Task.CLS][0]
DEFAULT_NET = "resnet-photo"  # that is trained unless told: twice as fast as the other
# The nets that names without a size are answered with, where a supernet of one is here, and the least side they take.
PHOTO_NETS, LEAST_PHOTO_PX = ("mobile-photo", "resnet-photo"), 96


def usual_px(net: str) -> int:
    """Side of the input that a net's times are taken at unless told otherwise."""
    return 224 if net in PHOTO_NETS else 32


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
    from search.supernet import WEIGHTS, load_supernet  # torch, which names alone do not need

    folder = find_supernet(name_or_folder)
    supernet = load_supernet(folder)
    sha256 = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    return Ready(supernet=supernet, folder=folder, sha256=sha256)


def photo_supernets(task: Task) -> list[str]:
    """Those of ``PHOTO_SUPERNETS`` that are here, or the first one, which is missed then."""
    return [name for name in PHOTO_SUPERNETS[task] if name in supernet_folders()] or [PHOTO_SUPERNETS[task][0]]


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
    small = name.size_px is not None and max(name.size_px) < LEAST_PHOTO_PX
    first = PHOTO_SUPERNETS[name.task][0]
    # Photos first, unless it is too small for them; of those the task's own.
    names = sorted(supernet_names(), key=lambda one: ((one.net in PHOTO_NETS) == small, one.name != first))
    known = {one.folder: f"{one.method}-{one.objective}" for one in names}
    if asked is not None:
        from search.supernet import load_supernet

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


BUNDLED = Path(__file__).parent / "weights"
CARD = "card.json"

# The SSNAS method searches the cell net; all other nets are DATA's.
_METHOD_OF_NET = {"cell": "ssnas"}


@dataclass(frozen=True, kw_only=True)
class SupernetName:
    """A supernet's name, its folder, what names it can answer, and its card as it was read, unchecked."""

    name: str
    folder: Path
    net: str
    objective: str
    card: dict[str, Any]

    @property
    def method(self) -> str:
        """The method that its net belongs to."""
        return method_of(self.net)


def supernet_folders() -> dict[str, Path]:
    """Folders by name; the user's own wins over a bundled one of the same name."""
    folders: dict[str, Path] = {}
    for parent in (BUNDLED, zoo_home() / "supernets"):
        if parent.is_dir():
            folders |= {path.name: path for path in sorted(parent.iterdir()) if (path / CARD).is_file()}
    return folders


def supernet_folder(name_or_folder: str) -> Path | None:
    """Where the supernet of that name, or in that folder, lies; None where there is none."""
    if name_or_folder in (folders := supernet_folders()):
        return folders[name_or_folder]
    folder = Path(name_or_folder)
    return folder if os.path.isfile(folder / CARD) else None  # noqa: PTH113 - False, too, for what no file system takes


def supernet_names() -> list[SupernetName]:
    """All whose card can be read; the weights are not looked at."""
    found = []
    for name, folder in supernet_folders().items():
        try:
            card = read_plain_json((folder / CARD).read_bytes())
            net, objective = str(card["net"]), str(card["objective"])
            found.append(SupernetName(name=name, folder=folder, net=net, objective=objective, card=card))
        except (OSError, ValueError, LookupError, TypeError):
            continue
    return found


def method_of(net: str) -> str:
    """The method that a net belongs to."""
    return _METHOD_OF_NET.get(net, "data")
