"""Costs: milliseconds, multiply-accumulates, parameters and memory of many networks at once.

A net is a sum of parts that depend on a few choices each (``Net.parts``), so the cost of N networks is N x parts
look-ups in small arrays and one sum: no Python loop over networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import LatencyTable, part_ms
from search.errors import InfeasibleBudget
from search.nets import Net, Part
from search.nets.counts import count_block
from search.types import Budget

Rows = NDArray[np.int64]
Number = TypeVar("Number", np.int64, np.float64)
_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}  # of an activation, and of a weight


@dataclass(frozen=True, kw_only=True, eq=False)
class Costs:
    """Of N networks, in one array each; multiply-accumulates are of one image, memory of one forward pass."""

    predicted_ms: NDArray[np.float64]
    macs: NDArray[np.int64]
    params: NDArray[np.int64]
    peak_memory_bytes: NDArray[np.int64]


class CostModel:
    """The costs of every network of a net at one resolution on one device.

    Peak memory is that of a runtime that frees every map after its last use (see ``hardware_profiles.memory``) and
    keeps all weights: in the device's precision, for its batch.

    Args:
        net: the family.
        table: its latency table; resolution, precision and batch are the table's.

    Raises:
        MissingOp: the table lacks a block of the net.
    """

    def __init__(self, net: Net, table: LatencyTable) -> None:
        self.resolution_px = table.resolution_px
        parts = net.parts(table.resolution_px)
        shapes = [[len(net.space[i].options) for i in part.choices] for part in parts]
        self._overhead_ms = table.overhead_ms
        self._parts = list(zip(parts, shapes, strict=True))
        self._ms = [part_ms(table, part.ops) for part in parts]
        self._macs = [np.array([sum(count_block(k).macs for k in ops) for ops in part.ops]) for part in parts]
        self._params = [np.array([sum(count_block(k).params for k in ops) for ops in part.ops]) for part in parts]
        self._peaks = [_peaks(part) for part in parts]
        self._bytes, self._batch = _BYTES[table.device.precision], table.device.batch

    def __call__(self, rows_nl: Rows) -> Costs:
        """Option positions [N, len(space)] -> the costs of N networks."""
        at = [_positions(rows_nl[:, list(part.choices)], shape) for part, shape in self._parts]
        params = _total(self._params, at)
        activations = np.max([table[i] for table, i in zip(self._peaks, at, strict=True)], axis=0)
        return Costs(
            predicted_ms=self._overhead_ms + _total(self._ms, at),
            macs=_total(self._macs, at),
            params=params,
            peak_memory_bytes=self._bytes * (self._batch * activations + params),
        )


def _peaks(part: Part) -> NDArray[np.int64]:
    """Elements alive at once in a part, one image, for each option; blocks follow each other unless the part knows."""
    blocks = [max((count_block(key).peak_elements for key in ops), default=0) for ops in part.ops]
    return np.maximum(blocks, part.peaks) if part.peaks else np.array(blocks, dtype=np.int64)


def _positions(options_nc: Rows, shape: list[int]) -> Rows:
    """Where each of N networks stands in a part's table, given the options of the part's choices."""
    if not shape:
        return np.zeros(len(options_nc), dtype=np.int64)
    return np.asarray(np.ravel_multi_index(tuple(options_nc.T), shape), dtype=np.int64)


def _total(tables: list[NDArray[Number]], at: list[Rows]) -> NDArray[Number]:
    """Added part by part, for np.sum's order of additions depends on N, and a network has one cost."""
    total = tables[0][at[0]]
    for table, i in zip(tables[1:], at[1:], strict=True):
        total = total + table[i]
    return total


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
