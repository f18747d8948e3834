"""Accuracy table: what each option of a net adds to the accuracy of its networks, as a latency table says for its time.

A linear predictor of accuracy, learned once for a supernet from some of its networks on labelled sets that anyone can
have (Nayman et al., BINAS, ACML 2022, which measures the contribution of each choice; Cai et al., Once-for-all, ICLR
2020, section 3.4, for the predictor). The user's images have no part in it: what it knows is which shapes of networks
serve images in general. A set that judges it must not have been among its own. What depth is worth depends on the
size of the input, so there may be points for several sizes, and the nearest ones speak.

Symbols: D sets, N networks, l choices, L numbers that a network is made of.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from hardware_profiles.replace_file import replace_file
from search.errors import BadSupernet
from search.nets import Net

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

ACCURACY = "accuracy.json"
"""The file of a supernet's table, in its folder."""
_PENALTIES = tuple(10.0**p for p in range(-1, 4))  # from hardly any to one that leaves little of 48 networks' spread
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Learned:
    """The points of every option of every choice at one size of the input.

    Args:
        resolution_px: its side.
        points: by choice, in the order of the net's options; those of the first option are 0.
        sets: of labelled images, by name.
        networks: how many were judged on each.
    """

    resolution_px: Annotated[int, Field(gt=0)]
    points: dict[str, tuple[FiniteFloat, ...]]
    sets: tuple[str, ...]
    networks: int

    def __call__(self, rows_nl: NDArray[np.int64]) -> Floats:
        """Option positions [N, l] -> points of accuracy [N], up to a constant that all networks share."""
        columns = (np.asarray(points)[rows_nl[:, i]] for i, points in enumerate(self.points.values()))
        return np.asarray(sum(columns, np.zeros(len(rows_nl))))


@dataclass(frozen=True, kw_only=True)
class AccuracyTable:
    """All that was learned about the networks of one supernet.

    Args:
        supernet_sha256: of the weights.
        learned: at least one size of the input, the smallest first.
    """

    supernet_sha256: str
    learned: tuple[Learned, ...]

    def at(self, resolution_px: float) -> Learned:
        """Of the size nearest to this one, by their ratio."""
        return min(self.learned, key=lambda one: abs(math.log(one.resolution_px / resolution_px)))


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    schema_number: Annotated[Literal[1], Field(alias="schema")]
    supernet_sha256: str
    learned: Annotated[tuple[Learned, ...], Field(min_length=1)]


def fit_points(net: Net, rows_nl: NDArray[np.int64], accuracy_DN: Floats) -> dict[str, tuple[float, ...]]:
    """Points by choice from networks and their accuracies in percent.

    Sets count alike: each is brought to the mean spread of all before they are averaged. The fit is ridge regression
    on the logarithms of a network's numbers, its penalty that of the least error of networks left out one by one.

    Raises:
        ValueError: fewer than three networks, or accuracies that are not theirs.
    """
    if len(rows_nl) < 3 or accuracy_DN.shape[1] != len(rows_nl):
        raise ValueError(f"{len(rows_nl)} networks and accuracies {accuracy_DN.shape}; give at least 3, in each set")
    centered_DN = accuracy_DN - accuracy_DN.mean(1, keepdims=True)
    spread_D1 = np.maximum(centered_DN.std(1, keepdims=True), 1e-9)
    y_N = (centered_DN / spread_D1).mean(0) * spread_D1.mean()
    numbers = _numbers(net)
    x_NL = np.asarray(sum(of[rows_nl[:, i]] for i, of in enumerate(numbers)))
    mean_L, std_L = x_NL.mean(0), x_NL.std(0)
    varied = std_L > 1e-9
    x_NL = (x_NL[:, varied] - mean_L[varied]) / std_L[varied]
    weight_L = np.zeros(len(mean_L))
    _, best_L = min((_ridge(x_NL, y_N, penalty) for penalty in _PENALTIES), key=lambda fit: fit[0])
    weight_L[varied] = best_L / std_L[varied]
    return {choice.name: tuple(map(float, of @ weight_L)) for choice, of in zip(net.space, numbers, strict=True)}


def _ridge(x_NL: Floats, y_N: Floats, penalty: float) -> tuple[float, Floats]:
    """Squared error of each network by the fit to all others (in closed form), and the weights of the fit to all."""
    gram = x_NL.T @ x_NL + penalty * np.eye(x_NL.shape[1])
    solved = np.linalg.solve(gram, x_NL.T)
    weight_L = np.asarray(solved @ y_N, dtype=np.float64)
    leverage_N = np.einsum("nl,ln->n", x_NL, solved) + 1 / len(y_N)
    return float(np.mean(((y_N - x_NL @ weight_L) / (1 - leverage_N)) ** 2)), weight_L


def _numbers(net: Net) -> list[Floats]:
    """By choice, [options, L]: the log of one more than each of a network's numbers, less that of the first option."""

    def logs(row: list[int]) -> Floats:
        (architecture,) = net.decode(np.array([row]), 1)
        return np.asarray(np.log1p([*net.values(architecture).values()]), dtype=np.float64)

    first = [0] * len(net.space)
    found = []
    for i, choice in enumerate(net.space):
        rows = [[*first[:i], option, *first[i + 1 :]] for option in range(len(choice.options))]
        found.append(np.stack([logs(row) for row in rows]) - logs(first))
    return found


def save_accuracy(table: AccuracyTable | None, folder: Path) -> None:
    """Write ``accuracy.json``; where there is no table, one of earlier weights goes."""
    if table is None:
        (folder / ACCURACY).unlink(missing_ok=True)
        return
    learned = [
        {**vars(one), "points": {name: [round(p, 4) for p in points] for name, points in one.points.items()}}
        for one in table.learned
    ]
    fields = {"schema": 1, "supernet_sha256": table.supernet_sha256, "learned": learned}
    replace_file(folder / ACCURACY, (json.dumps(fields) + "\n").encode())


def load_accuracy(folder: Path, net: Net, sha256: str) -> AccuracyTable | None:
    """The table of the supernet in ``folder``, of ``net`` and weights of ``sha256``; None where there is none.

    Raises:
        BadSupernet: it is damaged, or of other weights or another net.
    """
    path = folder / ACCURACY
    if not path.exists():
        return None
    try:
        read = _File.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadSupernet(
            f"{path} cannot be read ({error.strerror}); delete it, or install the supernet again"
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise BadSupernet(
            f"{path} is no accuracy table ({where}: {first['msg'][:200]}); delete it, or install the supernet again"
        ) from error
    if read.supernet_sha256 != sha256:
        raise BadSupernet(f"{path} is of other weights; delete it, or install the supernet again")
    expected = [(choice.name, len(choice.options)) for choice in net.space]
    if any([(name, len(points)) for name, points in one.points.items()] != expected for one in read.learned):
        raise BadSupernet(f"{path} is not of {net.name}; delete it, or install the supernet again")
    return AccuracyTable(supernet_sha256=sha256, learned=read.learned)
