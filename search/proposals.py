"""Proposals: which networks are worth a score, by the latency table alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from search.costs import CostModel, Rows
from search.limits import load
from search.nets import Net
from search.types import Budget

_DRAWS = 50_000
_MUTATION = 0.1


def scattered(net: Net, rng: np.random.Generator) -> Rows:
    """Many rows, spread over all sizes."""
    sizes = _sizes(net)
    # A slope a row, drawn once, tilts all its choices to the small or the large side: even the ends are reached.
    tilt_n1 = rng.uniform(-4, 4, (_DRAWS, 1))
    u_nl = rng.random((_DRAWS, len(sizes)))
    tilted = np.log1p(u_nl * np.expm1(tilt_n1)) / tilt_n1
    rows: Rows = np.minimum((tilted * sizes).astype(np.int64), sizes - 1)
    return rows


def children(net: Net, parents: Sequence[tuple[int, ...]], rng: np.random.Generator) -> Rows:
    """Many rows, each choice from one of two parents, some at random."""
    sizes, rows = _sizes(net), np.array(parents, dtype=np.int64)
    mother, father = (rows[rng.integers(len(rows), size=_DRAWS // 10)] for _ in range(2))
    child = np.where(rng.random(mother.shape) < 0.5, mother, father)
    return np.where(rng.random(child.shape) < _MUTATION, rng.integers(sizes, size=child.shape), child)


def smallest(rows: Rows, cost: CostModel, budget: Budget, net: Net) -> Rows:
    """The network that uses the smallest share of the budget; a measured table may well prefer a larger kernel.

    From the best of ``rows`` on, each choice is improved in turn until none improves: exact where no two choices meet
    in a part.
    """
    rows = np.concatenate([rows, net.encode([net.smallest(cost.resolution_px)])])
    row: Rows = rows[int(load(cost(rows), budget).argmin())]
    least = np.inf
    while (used := float(load(cost(row[None]), budget)[0])) < least:
        least = used
        for i, choice in enumerate(net.space):
            rows = np.repeat(row[None], len(choice.options), axis=0)
            rows[:, i] = np.arange(len(choice.options))
            row = rows[int(load(cost(rows), budget).argmin())]
    return row


def feasible(rows: Rows, used: NDArray[np.float64]) -> Rows:
    """The rows that use at most 1 of the budget, nearest to it first in coarse bands: like is compared with like."""
    rows, first = np.unique(rows[used <= 1], axis=0, return_index=True)
    used = used[used <= 1][first]
    # unique() sorts the rows: without a shuffle (the same each time) a band would begin with small first choices.
    order = np.random.default_rng(len(rows)).permutation(len(rows))
    return rows[order][np.argsort(-np.floor(used[order] * 10), kind="stable")]


def _sizes(net: Net) -> NDArray[np.int64]:
    return np.array([len(choice.options) for choice in net.space], dtype=np.int64)
