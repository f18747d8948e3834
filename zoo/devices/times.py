"""Times of whole networks as CSV: one network a line, its options separated by spaces, as a model card shows them.

    network,architecture,latency_ms
    net-00,k3_e1 skip k5_e6 k3_e3 ...,12.4

The column ``network`` is a label and may be missing; the order of the columns does not matter.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hardware_profiles.errors import BadTimes
from hardware_profiles.types import OpKey
from search.errors import BadArchitecture
from search.nets import Net
from search.types import Architecture
from zoo.names import shown

COLUMNS = ("network", "architecture", "latency_ms")
_MAX_BYTES = 50_000_000  # a line is 100 bytes, and nobody times half a million networks


@dataclass(frozen=True, kw_only=True)
class Times:
    """Networks of one net and how long each took, in milliseconds."""

    architectures: tuple[Architecture, ...]
    latency_ms: tuple[float, ...]

    def networks(self, net: Net) -> list[tuple[OpKey, ...]]:
        """The blocks of each network."""
        return [net.ops(architecture) for architecture in self.architectures]


def read_times(path: Path, net: Net, resolution_px: int) -> Times:
    """Read and check the file.

    Args:
        path: of the CSV.
        net: that all its networks are of.
        resolution_px: side of their input.

    Raises:
        BadTimes: the file, the line and what is wrong with it.
    """
    found: dict[Architecture, float] = {}
    lines: dict[Architecture, int] = {}
    for line, row in _rows(path):
        where = f"{path}, line {line}"
        architecture = _architecture(row["architecture"], net, resolution_px, where)
        if architecture in found:
            raise BadTimes(f"{where}: the network of line {lines[architecture]} again; keep one of them")
        found[architecture], lines[architecture] = above_zero(row["latency_ms"], "latency_ms", where), line
    if not found:
        raise BadTimes(f"{path}: holds no network; `zoo devices sample -n 10` prints some to time")
    return Times(architectures=tuple(found), latency_ms=tuple(found.values()))


def times_text(architectures: Sequence[Architecture], latency_ms: Sequence[float] | None = None) -> str:
    """The CSV; without times the last column is empty, to be filled in."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for i, architecture in enumerate(architectures):
        time = "" if latency_ms is None else repr(latency_ms[i])
        writer.writerow((network_label(i), " ".join(map(str, architecture.choices)), time))
    return file.getvalue()


def network_label(i: int) -> str:
    """What the i-th network is called in the CSV and as a file."""
    return f"net-{i:02d}"


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(io.StringIO(csv_text(path), newline=""), strict=True)
    try:
        names = [name.strip() for name in next(reader, [])]
        _check_columns(names, path)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if len(cells) != len(names):
                    raise BadTimes(
                        f"{path}, line {reader.line_num}: {len(cells)} columns, the heading has {len(names)}"
                    )
                yield reader.line_num, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise BadTimes(f"{path}, line {reader.line_num}: {error}; write it as CSV") from None


def _check_columns(names: Sequence[str], path: Path) -> None:
    for wanted in COLUMNS[1:]:
        if wanted not in names:
            has = ", ".join(shown(name) for name in names[:5]) or "nothing"
            raise BadTimes(f"{path}: has no column {wanted}, but {has}; the first line is {','.join(COLUMNS)}")
    for name in names:
        if name not in COLUMNS or names.count(name) > 1:
            raise BadTimes(f"{path}: column {shown(name)} is not known or comes twice; there is {', '.join(COLUMNS)}")


def _architecture(text: str, net: Net, resolution_px: int, where: str) -> Architecture:
    words = text.split()
    if len(words) != len(net.space):
        raise BadTimes(f"{where}: {len(words)} options, {net.name} has {len(net.space)} choices")
    choices = []
    for word, choice in zip(words, net.space, strict=True):
        options = {str(option): option for option in choice.options}
        if word not in options:
            raise BadTimes(f"{where}: {choice.name} is {shown(word)}; {net.name} has {', '.join(options)}")
        choices.append(options[word])
    architecture = Architecture(net=net.name, choices=tuple(choices), resolution_px=resolution_px)
    try:
        net.check(architecture)
    except BadArchitecture as error:
        raise BadTimes(f"{where}: {error}") from None
    return architecture


def csv_text(path: Path) -> str:
    """The text of a CSV of times.

    Raises:
        BadTimes: it cannot be read, is no text, or is too large to be one.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            text = file.read(_MAX_BYTES + 1)
    except UnicodeDecodeError as error:
        raise BadTimes(f"{path}: byte {error.start} is not UTF-8 text; save it as CSV (UTF-8)") from None
    except OSError as error:
        raise BadTimes(f"{path}: cannot be read: {error.strerror}") from None
    if len(text) > _MAX_BYTES:
        raise BadTimes(f"{path}: larger than {_MAX_BYTES // 10**6} MB; a network takes about 100 bytes")
    return text


def above_zero(text: str, column: str, where: str) -> float:
    """The number in a cell.

    Raises:
        BadTimes: it is none, or not above 0.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise BadTimes(f"{where}: {column} is {shown(text.strip())}; it takes a finite number above 0")
    return value
