"""Devices: the latency tables that are at hand, by device, net and resolution.

A table is the file ``DEVICE.NET-RESOLUTIONpx.yaml`` in this package's ``devices`` or in a folder of the user's, whose
tables come first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hardware_profiles.errors import BadProfile, MissingTable, UnknownDevice
from hardware_profiles.tables.files import load_head, load_table, save_table
from hardware_profiles.types import LatencyTable, TableHead

BUNDLED = Path(__file__).parents[1] / "devices"

# A representative of each kind: an accelerator of a microcontroller's size, a board, a phone, a server's GPU.
ALIASES = {"point": "eyeriss", "edge": "raspi4", "mobile": "pixel3", "cloud": "titan-rtx"}

_FILE = re.compile(r"(?P<device>[a-z0-9][a-z0-9_-]*)\.(?P<net>[a-z0-9][a-z0-9_-]*)-(?P<resolution>[1-9]\d*)px\.yaml")


@dataclass(frozen=True, kw_only=True)
class TableFile:
    """A latency table that is at hand; its file is not read before it is needed."""

    device_id: str
    net: str
    resolution_px: int
    path: Path

    def load(self) -> LatencyTable:
        """Read the table.

        Raises:
            BadProfile: the file is malformed, or holds another table than its name says.
        """
        table = load_table(self.path)
        self._check(table)
        return table

    def head(self) -> TableHead:
        """Read all but the table's blocks, which is fast; errors as ``load``."""
        head = load_head(self.path)
        self._check(head)
        return head

    def _check(self, table: TableHead) -> None:
        if (table.device.id, table.net, table.resolution_px) != (self.device_id, self.net, self.resolution_px):
            raise BadProfile(f"{self.path}: holds the table {table_name(table)}; rename the file to that")


def list_tables(folders: Sequence[Path] = ()) -> tuple[TableFile, ...]:
    """All tables in ``folders`` and in this package, by device, net and resolution; the first folder that has one wins.

    A YAML file of another name is left out; ``stray_files`` names it.
    """
    found: dict[tuple[str, str, int], TableFile] = {}
    for folder in (*folders, BUNDLED):
        for path in _yaml_files(folder):
            match = _FILE.fullmatch(path.name)
            if match is None:
                continue
            key = match["device"], match["net"], int(match["resolution"])
            found.setdefault(key, TableFile(device_id=key[0], net=key[1], resolution_px=key[2], path=path))
    return tuple(found[key] for key in sorted(found))


def stray_files(folders: Sequence[Path] = ()) -> tuple[Path, ...]:
    """YAML files in ``folders`` that no table can be: their names are not ``DEVICE.NET-RESOLUTIONpx.yaml``."""
    return tuple(path for folder in folders for path in _yaml_files(folder) if _FILE.fullmatch(path.name) is None)


def _yaml_files(folder: Path) -> list[Path]:
    return sorted(path for suffix in ("yaml", "yml") for path in folder.glob(f"[!.]*.{suffix}"))


def find_device(name: str, tables: Iterable[TableFile]) -> str:
    """The id of the device called ``name``, which may be an alias: point, edge, mobile or cloud.

    Raises:
        UnknownDevice: no table is of that device.
    """
    known = sorted({table.device_id for table in tables})
    if name in known:
        return name
    if ALIASES.get(name) in known:
        return ALIASES[name]
    usable = [alias for alias, device_id in ALIASES.items() if device_id in known]
    raise UnknownDevice(name, [*known, *usable], alias_of=ALIASES.get(name))


def find_table(name: str, *, net: str, resolution_px: int, folders: Sequence[Path] = ()) -> LatencyTable:
    """Read the table of a net at a resolution on the device called ``name``.

    Raises:
        UnknownDevice: no table is of that device.
        MissingTable: the device has tables, but not this one.
        BadProfile: the table's file is malformed.
    """
    tables = list_tables(folders)
    device_id = find_device(name, tables)
    own = [table for table in tables if table.device_id == device_id]
    for table in own:
        if (table.net, table.resolution_px) == (net, resolution_px):
            return table.load()
    raise MissingTable(device_id, net, resolution_px, [f"{table.net} at {table.resolution_px} px" for table in own])


def keep_table(table: LatencyTable, folder: Path) -> Path:
    """Write ``table`` under its name into ``folder``, in place of an older one, and return its path.

    Raises:
        BadProfile: the table or the folder cannot be written.
    """
    return save_table(table, folder / table_name(table))


def table_name(table: TableHead) -> str:
    """The file name of a table: ``DEVICE.NET-RESOLUTIONpx.yaml``."""
    return f"{table.device.id}.{table.net}-{table.resolution_px}px.yaml"
