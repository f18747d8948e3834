"""DARTS log: what a search of cells was like after each epoch, and when it has collapsed.

Cells tend to fill up with identities and poolings the longer they are searched: those need no training, so early on
they look better than convolutions (Liang et al., DARTS+, arXiv:1909.06035, stop at two identities in a normal cell).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from hardware_profiles.replace_file import replace_file
from search.cells.derive import Alphas, derive
from search.cells.recipe import DartsRecipe
from search.errors import WriteFailed
from search.nets.genotype import EDGES, PARAMETER_FREE, PRIMITIVES, ROLES, Genotype


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """The state after an epoch.

    Args:
        epoch: from 0.
        lr: of the weights, at the end.
        loss_weights: mean contrastive loss of the epoch on the weights' half.
        loss_alphas: the same on the architecture's half, without a penalty; None where only weights were trained.
        loss_held_out: of the mixed network on images that neither half sees.
        expected_ms: of the network that will be derived, where there is a table.
        derived_ms: estimate for the network that would be derived now by the paper's rule, where there is a table.
        alphas: raw architecture parameters, per role 14 edges x 8 operations.
    """

    epoch: int
    lr: float
    loss_weights: float
    loss_alphas: float | None
    loss_held_out: float
    expected_ms: float | None
    derived_ms: float | None
    alphas: tuple[tuple[tuple[float, ...], ...], ...]

    @property
    def by_role(self) -> Alphas:
        """The parameters as arrays."""
        return {role: np.array(rows) for role, rows in zip(ROLES, self.alphas, strict=True)}

    @property
    def genotype(self) -> Genotype:
        """By the paper's rule."""
        return derive(self.by_role)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Which epoch's cells to take.

    Args:
        epoch: its position in the log.
        stop: whether to search no further.
        reason: why it is not the last epoch, or why that is doubtful; None where all is well.
    """

    epoch: int
    stop: bool
    reason: str | None


def judge(log: Sequence[Epoch], recipe: DartsRecipe) -> Verdict:
    """The last epoch whose normal cell has not collapsed; stop after ``patience`` collapsed ones in a row.

    Epochs that trained only weights count neither way: their cells are still as drawn.
    """
    searched = range(min(recipe.warmup_epochs, len(log) - 1), len(log))
    complaints = {i: complaint(log[i].genotype, recipe) for i in searched}
    healthy = [i for i, found in complaints.items() if found is None]
    last = len(log) - 1
    if complaints[last] is None:
        return Verdict(epoch=last, stop=False, reason=None)
    if not healthy:
        return Verdict(epoch=last, stop=False, reason=f"collapsed in every epoch: {complaints[last]}")
    stop = last - healthy[-1] >= recipe.patience
    reason = f"back to epoch {healthy[-1]}: at epoch {last} {complaints[last]}"
    return Verdict(epoch=healthy[-1], stop=stop, reason=reason)


def complaint(genotype: Genotype, recipe: DartsRecipe) -> str | None:
    """What is wrong with a normal cell that identities and poolings have filled; None where they have not."""
    skips, free = genotype.count("normal", ["skip_connect"]), genotype.count("normal", PARAMETER_FREE)
    if skips > recipe.max_skips:
        return f"the normal cell has {skips} identities (limit {recipe.max_skips})"
    if free > recipe.max_parameter_free:
        return f"the normal cell has {free} poolings and identities (limit {recipe.max_parameter_free})"
    return None


def write_log(log: Sequence[Epoch], folder: Path) -> None:
    """Write ``search.csv`` (a line an epoch) and ``alphas.csv`` (a line an epoch and edge).

    Raises:
        WriteFailed: the disk is full, for instance.
    """
    names = [field.name for field in fields(Epoch) if field.name != "alphas"]
    extra = ["normal_skips", "normal_parameter_free", "genotype"]
    rows = [[getattr(e, name) for name in names] + _shape(e.genotype) for e in log]
    _write(folder / "search.csv", [[*names, *extra], *rows])
    header = ["epoch", "cell", "node", "from", *PRIMITIVES]
    edges = [
        [e.epoch, role, *edge, *row]
        for e in log
        for role, alphas in zip(ROLES, e.alphas, strict=True)
        for edge, row in zip(EDGES, alphas, strict=True)
    ]
    _write(folder / "alphas.csv", [header, *edges])


def to_plain(epoch: Epoch) -> dict[str, Any]:
    """Numbers and lists, for a checkpoint."""
    return {**asdict(epoch), "alphas": [[list(row) for row in role] for role in epoch.alphas]}


def from_plain(document: dict[str, Any]) -> Epoch:
    """What ``to_plain`` made."""
    alphas = tuple(tuple(tuple(row) for row in role) for role in document["alphas"])
    return Epoch(**{**document, "alphas": alphas})


def _shape(genotype: Genotype) -> list[int | str]:
    return [genotype.count("normal", ["skip_connect"]), genotype.count("normal", PARAMETER_FREE), str(genotype)]


def _write(path: Path, rows: list[list[Any]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    try:
        replace_file(path, text.getvalue())
    except OSError as error:
        raise WriteFailed(f"{path} cannot be written ({error.strerror}); free some space, resume") from error
