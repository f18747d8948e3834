"""Devices: the latency tables that are at hand, by device, net and resolution.

A table is the file ``DEVICE.NET-RESOLUTIONpx.yaml`` (of a wide input ``...-320x192px.yaml``, width x height) in this
package's ``devices`` or in a folder of the user's, whose tables come first; a cost model, which prices any block, is
``DEVICE.any.yaml``. Other files there stop nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hardware_profiles.errors import BadProfile, MissingTable, UnknownDevice
from hardware_profiles.tables.files import load_costs, load_head, load_table, save_costs, save_table
from hardware_profiles.types import CostModel, LatencyTable, TableHead, size_text

BUNDLED = Path(__file__).parents[1] / "devices"

# One of each kind that can be bought, the best predicted of its like: a small int8 chip, a board, a phone, a GPU.
ALIASES = {"point": "q-6690-int8", "edge": "iq-9075", "mobile": "galaxy-s24", "cloud": "rtx-5090"}

_ANY = "any"
_FILE = re.compile(
    r"(?P<device>[a-z0-9][a-z0-9_-]*)\."
    r"(?:any|(?P<net>[a-z0-9][a-z0-9_-]*)-(?:(?P<width>[1-9]\d{0,5})x)?(?P<resolution>[1-9]\d{0,5})px)\.ya?ml"
)


@dataclass(frozen=True, kw_only=True)
class TableFile:
    """A latency table that is at hand; its file is not read before it is needed.

    That of a cost model has ``net`` ``any`` and ``resolution_px`` 0.
    """

    device_id: str
    net: str
    resolution_px: int
    path: Path
    width_px: int | None = None

    def load(self) -> LatencyTable:
        """Read the table.

        Raises:
            BadProfile: the file is malformed, holds another table than its name says, or is a cost model.
        """
        table = load_table(self.path)
        self._check(table)
        return table

    def costs(self) -> CostModel:
        """Read the cost model; errors as ``load``."""
        model = load_costs(self.path)
        self._check(model)
        return model

    def head(self) -> TableHead:
        """Read all but the table's blocks, which is fast; errors as ``load``."""
        head = load_costs(self.path) if self.net == _ANY else load_head(self.path)
        self._check(head)
        return head

    def _check(self, table: TableHead) -> None:
        held = table.device.id, table.net, table.resolution_px, table.width_px
        if held != (self.device_id, self.net, self.resolution_px, self.width_px):
            raise BadProfile(f"{self.path}: holds the table {table_name(table)}; rename the file to that")


def list_tables(folders: Sequence[Path] = ()) -> tuple[TableFile, ...]:
    """All tables in ``folders`` and in this package, by device, net and resolution; the first folder that has one wins.

    What ``stray_files`` names is left out.
    """
    found: dict[tuple[str, str, int, int], TableFile] = {}
    for path, match in _files((*folders, BUNDLED)):
        if match is not None:
            device_id, net, width = match["device"], match["net"] or _ANY, match["width"]
            px = int(match["resolution"] or 0)
            file = TableFile(
                device_id=device_id, net=net, resolution_px=px, path=path, width_px=int(width) if width else None
            )
            found.setdefault((device_id, net, px, int(width or 0)), file)
    return tuple(found[key] for key in sorted(found))


def stray_files(folders: Sequence[Path]) -> list[Path]:
    """The YAML files in ``folders`` whose names are not those of tables."""
    return [path for path, match in _files(folders) if match is None]


def _files(folders: Iterable[Path]) -> Iterator[tuple[Path, re.Match[str] | None]]:
    for folder in folders:
        for path in sorted(folder.glob("[!.]*.y*ml")):
            yield path, _FILE.fullmatch(path.name)


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


def find_table(
    name: str, *, net: str, resolution_px: int, width_px: int | None = None, folders: Sequence[Path] = ()
) -> LatencyTable:
    """Read the table of a net at a resolution on the device called ``name``.

    ``width_px`` is that of an input that is not as wide as high.

    Raises:
        UnknownDevice: no table is of that device.
        MissingTable: the device has tables, but not this one.
        BadProfile: the table's file is malformed.
    """
    tables = list_tables(folders)
    device_id = find_device(name, tables)
    own = [table for table in tables if table.device_id == device_id]
    for table in own:
        if (table.net, table.resolution_px, table.width_px) == (net, resolution_px, width_px):
            return table.load()
    known = [
        f"{table.net} at {size_text(table.resolution_px, table.width_px)} px" for table in own if table.net != _ANY
    ]
    photos = ["any net from 96 px on, by a cost model"] if len(known) < len(own) else []
    raise MissingTable(device_id, net, size_text(resolution_px, width_px), [*known, *photos])


def find_costs(name: str, *, folders: Sequence[Path] = ()) -> CostModel | None:
    """The cost model of the device called ``name``; None where it has none.

    Raises:
        UnknownDevice: nothing is known of that device.
        BadProfile: the file is malformed.
    """
    tables = list_tables(folders)
    device_id = find_device(name, tables)
    return next((table.costs() for table in tables if (table.device_id, table.net) == (device_id, _ANY)), None)


def keep_table(table: LatencyTable | CostModel, folder: Path) -> Path:
    """Write ``table`` under its name into ``folder``, in place of an older one, and return its path.

    Raises:
        BadProfile: the table or the folder cannot be written.
    """
    path = folder / table_name(table)
    return save_costs(table, path) if isinstance(table, CostModel) else save_table(table, path)


def table_name(table: TableHead) -> str:
    """The file name of a table: ``DEVICE.NET-RESOLUTIONpx.yaml``, of a cost model ``DEVICE.any.yaml``."""
    if table.net == _ANY:
        return f"{table.device.id}.{_ANY}.yaml"
    return f"{table.device.id}.{table.net}-{table.size_text}px.yaml"
