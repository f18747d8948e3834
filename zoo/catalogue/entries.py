"""Entry: a line of the curated catalogue, ``entries.json``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from search.types import Architecture, Candidate, Task
from zoo.errors import BadCatalogue
from zoo.names import Name, parse_name

SCHEMA = 1
ENTRIES = Path(__file__).parent / "entries.json"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A network that answers a name.

    Args:
        name: as people write it; without a device where the entry's is the name's reference device.
        device: the id of the device that the budget holds for.
        source: of its latency table: ``measured``, ``published`` or ``fitted``.
        net: the family.
        choices: of the architecture.
        resolution_px: side of the input, in pixels.
        score: on the generated images.
        criterion: what the score is.
        predicted_ms: by the device's table.
        macs: multiply-accumulates of one image.
        params: parameters.
        peak_memory_bytes: see ``search.types.Candidate``.
        supernet: the bundled supernet that it is cut from.
        supernet_sha256: of that supernet's weight file.
        seed: of the search.
        evaluated: networks that were scored.
        images: what they were scored on.
        classes: of the head that the budget counts; None where it is of the backbone alone.
        measured_ms: by the clock of a machine of the device's kind, when the catalogue was made.
    """

    name: str
    device: str
    source: str
    net: str
    choices: tuple[str | int, ...]
    resolution_px: int
    score: float
    criterion: str
    predicted_ms: float
    macs: int
    params: int
    peak_memory_bytes: int
    supernet: str
    supernet_sha256: str
    seed: int
    evaluated: int
    images: str
    classes: int | None = None
    measured_ms: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no name; the rest is checked against table and supernet when it is used."""
        if self.question.device != self.device:
            raise ValueError(f"{self.name} names another device than {self.device}")

    @property
    def question(self) -> Name:
        """The name with its device."""
        name = parse_name(self.name)
        return name if name.device else replace(name, device=self.device)

    @property
    def task(self) -> Task:
        """What the network is for."""
        return parse_name(self.name).task

    @property
    def candidate(self) -> Candidate:
        """As the search found it."""
        return Candidate(
            architecture=Architecture(net=self.net, choices=self.choices, resolution_px=self.resolution_px),
            score=self.score,
            predicted_ms=self.predicted_ms,
            macs=self.macs,
            params=self.params,
            peak_memory_bytes=self.peak_memory_bytes,
        )


def load_entries() -> tuple[Entry, ...]:
    """All entries, by name.

    Raises:
        BadCatalogue: the file is damaged, or of another schema.
    """
    return read_entries(ENTRIES)


@cache
def read_entries(path: Path) -> tuple[Entry, ...]:
    """The entries in a file; arguments and errors as ``load_entries``."""
    try:
        document = json.loads(path.read_text("utf-8"))
        if document.pop("schema") != SCHEMA:
            raise BadCatalogue(f"{path} is of another schema than {SCHEMA}; install subnet-zoo again")
        (entries,) = document.values()
        return tuple(Entry(**{**fields, "choices": tuple(fields["choices"])}) for fields in entries)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadCatalogue(
            f"{path} is no catalogue ({' '.join(str(error).split())}); install subnet-zoo again"
        ) from None


def find_entry(name: Name) -> Entry | None:
    """The entry that answers a name; without a device, the one whose device is the name's reference.

    Args:
        name: its device, where it has one, by id.
    """
    size_px, name = name.size_px, replace(name, size_px=None)
    for entry in load_entries():
        if size_px in (None, (entry.resolution_px, entry.resolution_px)) and (
            (parse_name(entry.name) if name.device is None else entry.question) == name
        ):
            return entry
    return None


def entries_text(entries: tuple[Entry, ...]) -> str:
    """The text of ``entries.json``: a line a field, the choices on one."""
    rows = [_row(asdict(entry)) for entry in sorted(entries, key=lambda entry: entry.name)]
    return f'{{\n "schema": {SCHEMA},\n "entries": [\n' + ",\n".join(rows) + "\n ]\n}\n"


def _row(fields: dict[str, Any]) -> str:
    lines = [f"   {json.dumps(key)}: {json.dumps(value)}" for key, value in fields.items()]
    return "  {\n" + ",\n".join(lines) + "\n  }"
