"""Proposals: which networks to score next for one goal, a device and its budget; several goals share the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import LatencyTable
from search.nets import Net
from search.subnets.costs import CostModel, Rows, load, refuse
from search.types import Budget, Candidate

_PARENTS = 8  # of 64 networks in 5 rounds: an eighth of what was seen

Key = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A device, by its latency table, and the budget that holds there.

    ``family`` counts what the budget is of, e.g. whole models (``search.nets.whole``); None: the supernet's net.
    """

    table: LatencyTable
    budget: Budget
    family: Net | None = None


class Proposals:
    """Networks that meet a goal's budget, from the scores of all.

    Args:
        net: the family.
        goal: what to meet.
        seed: of the proposals.
        images: how many there were to choose from, for the choice comes from the same seed.

    Attributes:
        asked: networks that were scored on its proposal.

    Raises:
        InfeasibleBudget: no network meets the budget.
        MissingOp: the table lacks a block.
    """

    def __init__(self, net: Net, goal: Goal, seed: int, images: int) -> None:
        self.goal, self.asked = goal, 0
        self._net, self._cost = net, CostModel(net, goal.table)
        self._rng = np.random.default_rng(seed)
        self._rng.permutation(images)  # what the choice of images has used
        self._first = scattered(net, self._rng)
        self._smallest = smallest(self._first, self._cost, goal.budget, net)
        if self._load(self._smallest[None])[0] > 1:
            refuse(self._smallest, self._cost, goal.budget, net, device_id=goal.table.device.id)

    def fresh(self, scores: Mapping[Key, float]) -> list[Rows]:
        """Networks within the budget and without a score, the most promising first."""
        parents = sorted(self._met(scores), key=lambda key: scores[key], reverse=True)[:_PARENTS]
        rows = children(self._net, parents, self._rng) if parents else self._first
        rows = np.concatenate([rows, self._smallest[None]])
        return [row for row in feasible(rows, self._load(rows)) if tuple(row.tolist()) not in scores]

    def candidates(self, scores: Mapping[Key, float]) -> tuple[Candidate, ...]:
        """All scored networks that meet the budget."""
        rows = np.array(self._met(scores), dtype=np.int64)
        costs = self._cost(rows)
        architectures = self._net.decode(rows, self._cost.resolution_px)
        return tuple(
            Candidate(
                architecture=architecture,
                score=scores[tuple(row)],
                predicted_ms=float(costs.predicted_ms[i]),
                macs=int(costs.macs[i]),
                params=int(costs.params[i]),
                peak_memory_bytes=int(costs.peak_memory_bytes[i]),
            )
            for i, (row, architecture) in enumerate(zip(rows.tolist(), architectures, strict=True))
        )

    def _met(self, scores: Mapping[Key, float]) -> list[Key]:
        if not scores:
            return []
        keys = list(scores)
        return [key for key, used in zip(keys, self._load(np.array(keys)), strict=True) if used <= 1]

    def _load(self, rows: Rows) -> NDArray[np.float64]:
        return load(self._cost(rows), self.goal.budget)


_DRAWS = 50_000  # rows a look-up: 0.1 s, and every share of a budget is met
_MUTATION = 0.1  # as in single-path one-shot search (Guo et al., ECCV 2020)


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
