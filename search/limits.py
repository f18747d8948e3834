"""Limits: how much of a budget a network uses."""

from __future__ import annotations

from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from search.costs import CostModel, Costs, Rows
from search.errors import InfeasibleBudget
from search.nets import Net
from search.types import Budget


def load(costs: Costs, budget: Budget) -> NDArray[np.float64]:
    """The used share of the tightest limit, [N]: 1 is the budget."""
    shares = [getattr(costs, cost) / limit for cost, (_, limit) in _limits(budget).items()]
    return np.max(shares, axis=0)  # type: ignore[no-any-return]


def refuse(row: Rows, cost: CostModel, budget: Budget, net: Net, *, device_id: str) -> NoReturn:
    """Name the limit that the network nearest to the budget misses by most.

    Raises:
        InfeasibleBudget: always.
    """
    costs, limits = cost(row[None]), _limits(budget)
    worst = max(limits, key=lambda name: getattr(costs, name)[0] / limits[name][1])
    unit, limit = limits[worst]
    reachable = float(getattr(costs, worst)[0])
    (nearest,) = net.decode(row[None], cost.resolution_px)
    raise InfeasibleBudget(asked=limit, reachable=reachable, unit=unit, nearest=nearest, device=device_id)


def _limits(budget: Budget) -> dict[str, tuple[str, float]]:
    """Cost -> its unit and its limit."""
    limits = {
        "predicted_ms": ("ms", budget.latency_ms),
        "macs": ("MACs", budget.max_macs),
        "params": ("parameters", budget.max_params),
        "peak_memory_bytes": ("bytes", budget.max_memory_bytes),
    }
    return {cost: (unit, limit) for cost, (unit, limit) in limits.items() if limit is not None}
