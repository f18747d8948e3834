"""Hunt: the search for one goal, a device and its budget, among networks whose scores several hunts share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import LatencyTable
from search.costs import CostModel, Rows
from search.limits import load, refuse
from search.nets import Net
from search.proposals import children, feasible, scattered, smallest
from search.types import Budget, Candidate

_PARENTS = 8

Key = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A device, by its latency table, and the budget that holds there."""

    table: LatencyTable
    budget: Budget


class Hunt:
    """Proposes networks that meet a goal's budget, from the scores of all.

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
