"""Genotype: which operation reads which node in a cell of the DARTS space, as a value and as a file.

A cell is a graph of 7 nodes: two inputs (the outputs of the two cells before it), four intermediate nodes, and an
output that concatenates those four. Each intermediate node adds up two operations, each on another earlier node.
Reference: Liu et al., DARTS, ICLR 2019, section 2.1 and appendix A.1.1; SSNAS (arXiv:2007.01500) searches the same.

    {"schema": 1, "space": "darts", "normal": [["sep_conv_3x3", 0], ["skip_connect", 1], ...], "reduce": [...],
     "found": {"images": "cifar10", "terms": "...", "strategy": "darts", "epochs": 8, "seed": 0, "held_out_loss": 3.21}}

``found`` may be missing: a cell may be drawn by hand.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hardware_profiles.plain_text import read_plain_json
from hardware_profiles.replace_file import replace_file
from search.errors import BadGenotype, WriteFailed

SCHEMA = 1
SPACE = "darts"
NODES = 4  # a cell's inner ones (Liu et al., ICLR 2019, section 3)
INPUTS = 2  # a cell's, and a node's
NONE = "none"
# The candidates of an edge; ``none`` competes with them in the search and is never chosen.
PRIMITIVES = (
    NONE,
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
OPS = PRIMITIVES[1:]
PARAMETER_FREE = ("max_pool_3x3", "avg_pool_3x3", "skip_connect")
ROLES = ("normal", "reduce")
# Every (node, earlier node); intermediate nodes count from 0, what they may read from 0, the cell's inputs first.
EDGES = tuple((node, source) for node in range(NODES) for source in range(node + INPUTS))

Role = Literal["normal", "reduce"]
Slot = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Genotype:
    """Two cells.

    Args:
        normal: of the cell that keeps the map's size: per node two (operation, earlier node), the lower node first.
        reduce: of the cell that halves it; operations on its inputs have stride 2.

    Raises:
        BadGenotype: not a point of the space.
    """

    normal: tuple[Slot, ...]
    reduce: tuple[Slot, ...]

    def __post_init__(self) -> None:
        """Refuse what is no cell."""
        for role in ROLES:
            slots = self.slots(role)
            if len(slots) != NODES * INPUTS:
                raise BadGenotype(f"the {role} cell has {len(slots)} operations; {NODES * INPUTS} make a cell")
            for node in range(NODES):
                _check_node(role, node, slots[INPUTS * node : INPUTS * (node + 1)])

    def slots(self, role: str) -> tuple[Slot, ...]:
        """The operations of the cell called ``role``."""
        return self.normal if role == "normal" else self.reduce

    def count(self, role: str, ops: Sequence[str]) -> int:
        """How many operations of a cell are among ``ops``."""
        return sum(op in ops for op, _ in self.slots(role))

    def __str__(self) -> str:
        """For people and tables: ``normal: sep_conv_3x3(0)+skip_connect(1) ...``."""
        return "; ".join(f"{role}: {' '.join(_nodes_text(self.slots(role)))}" for role in ROLES)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """How cells were found.

    Args:
        images: name of the folder that they were searched on.
        terms: on which those images may be used.
        strategy: how an edge mixed its operations.
        epochs: after which they were derived.
        seed: of the search.
        held_out_loss: contrastive loss of their briefly trained network on images that nothing was trained on.
    """

    images: str
    terms: str
    strategy: str
    epochs: int
    seed: int
    held_out_loss: float

    def __post_init__(self) -> None:
        """Refuse what no search writes."""
        kinds = {"epochs": int, "seed": int, "held_out_loss": float}
        for name, value in vars(self).items():
            if type(value) is not kinds.get(name, str):
                raise BadGenotype(f"{name} is {value!r:.40}; it must be of type {kinds.get(name, str).__name__}")


def random_genotype(rng: np.random.Generator) -> Genotype:
    """A cell pair with every operation uniform, and every pair of distinct inputs of a node equally likely."""

    def cell() -> tuple[Slot, ...]:
        slots: list[Slot] = []
        for node in range(NODES):
            sources = np.sort(rng.permutation(node + INPUTS)[:INPUTS])
            slots += [(OPS[int(rng.integers(len(OPS)))], int(source)) for source in sources]
        return tuple(slots)

    return Genotype(normal=cell(), reduce=cell())


def to_document(genotype: Genotype, found: Origin | None = None) -> dict[str, Any]:
    """Plain values for JSON."""
    cells = {role: [list(slot) for slot in genotype.slots(role)] for role in ROLES}
    origin = {} if found is None else {"found": asdict(found)}
    return {"schema": SCHEMA, "space": SPACE, **cells, **origin}


def from_document(document: object, where: str) -> tuple[Genotype, Origin | None]:
    """What ``to_document`` made; ``where`` it was found is named in errors.

    Raises:
        BadGenotype: of another space or schema, or malformed; unknown keys are.
    """
    if not isinstance(document, dict) or "space" not in document:
        raise BadGenotype(f'{where} is no genotype; one begins {{"schema": {SCHEMA}, "space": "{SPACE}", "normal": ...')
    if document["space"] != SPACE or document.get("schema") != SCHEMA:
        found = f"space {document['space']!r:.40}, schema {document.get('schema')!r:.20}"
        raise BadGenotype(f"{where} is of {found}; this version reads space {SPACE!r}, schema {SCHEMA}")
    if unknown := document.keys() - {"schema", "space", "found", *ROLES}:
        raise BadGenotype(f"{where} has the unknown key {min(unknown)!r:.40}; remove it")
    try:
        cells = {role: tuple((str(op), source) for op, source in document[role]) for role in ROLES}
    except (KeyError, TypeError, ValueError):
        raise BadGenotype(f"{where}: normal and reduce must be lists of 8 [operation, earlier node]") from None
    try:
        return Genotype(**cells), Origin(**document["found"]) if "found" in document else None
    except BadGenotype as error:
        raise BadGenotype(f"{where}: {error}") from None
    except TypeError:
        names = ", ".join(field.name for field in fields(Origin))
        raise BadGenotype(f"{where}: found must have {names}, and nothing else; or leave it out") from None


def read_genotype(path: Path) -> Genotype:
    """Read a genotype's JSON file.

    Raises:
        BadGenotype: it cannot be read, or is not what ``write_genotype`` writes.
    """
    return _read(path)[0]


def read_origin(path: Path) -> Origin | None:
    """How the cells in a genotype's file were found, where it says so; errors as ``read_genotype``."""
    return _read(path)[1]


def write_genotype(genotype: Genotype, path: Path, found: Origin | None = None) -> None:
    """Write a genotype's JSON file in one step.

    Raises:
        WriteFailed: the disk is full, for instance.
    """
    try:
        replace_file(path, json.dumps(to_document(genotype, found)) + "\n")
    except OSError as error:
        raise WriteFailed(f"{path} cannot be written ({error.strerror}); free some space") from error


def _read(path: Path) -> tuple[Genotype, Origin | None]:
    try:
        document = read_plain_json(path.read_bytes())
    except OSError as error:
        raise BadGenotype(f"{path} cannot be read ({error.strerror}); `zoo darts` writes one") from error
    except ValueError as error:
        raise BadGenotype(f"{path} is not JSON; `zoo darts` writes a genotype") from error
    return from_document(document, str(path))


def _check_node(role: str, node: int, slots: tuple[Slot, ...]) -> None:
    for op, source in slots:
        if op not in OPS:
            raise BadGenotype(f"the {role} cell has the operation {op!r:.40}; the space has {', '.join(OPS)}")
        if type(source) is not int or not 0 <= source < node + INPUTS:
            raise BadGenotype(f"node {node} of the {role} cell reads {source!r:.20}; it may read 0 to {node + 1}")
    if slots[0][1] >= slots[1][1]:
        sources = f"{slots[0][1]} and {slots[1][1]}"
        raise BadGenotype(f"node {node} of the {role} cell reads {sources}; they must differ, the lower one first")


def _nodes_text(slots: tuple[Slot, ...]) -> list[str]:
    texts = [f"{op}({source})" for op, source in slots]
    return ["+".join(texts[i : i + INPUTS]) for i in range(0, len(texts), INPUTS)]
