"""The supernets at hand, by name, as far as their cards tell without torch.

Bundled ones come with the zoo; the user's own lie under ``ZOO_HOME/supernets``.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from zoo.home import zoo_home

BUNDLED = Path(__file__).parent / "weights"
CARD = "card.json"

# The SSNAS method searches the cell net; all other nets are DATA's.
_METHOD_OF_NET = {"cell": "ssnas"}


@dataclass(frozen=True, kw_only=True)
class SupernetName:
    """A supernet's name, its folder, and what names it can answer."""

    name: str
    folder: Path
    net: str
    objective: str

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
            card = json.loads((folder / CARD).read_bytes())
            found.append(SupernetName(name=name, folder=folder, net=str(card["net"]), objective=str(card["objective"])))
        except (OSError, ValueError, LookupError, TypeError):
            continue
    return found


def method_of(net: str) -> str:
    """The method that a net belongs to."""
    return _METHOD_OF_NET.get(net, "data")
