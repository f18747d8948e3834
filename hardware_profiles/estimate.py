"""Estimate: how long a network takes, from the times of its blocks.

estimate_ms (one network) · block_ms (block by block) · part_ms (what a search adds up)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from hardware_profiles.errors import MissingOp
from hardware_profiles.ops import nearest_op
from hardware_profiles.types import LatencyTable, OpKey

Times = NDArray[np.float64]


def estimate_ms(table: LatencyTable, ops: Iterable[OpKey]) -> float:
    """Milliseconds of one forward pass of the network made of ``ops``: ``overhead_ms + scale * sum``.

    Raises:
        MissingOp: the table has no time for a block.
    """
    return table.overhead_ms + float(block_ms(table, ops).sum())


def block_ms(table: LatencyTable, ops: Iterable[OpKey]) -> Times:
    """Milliseconds that each block adds to a network, [len(ops)].

    Raises:
        MissingOp: the table has no time for a block.
    """
    return table.scale * np.array([_median_ms(table, key) for key in ops], dtype=np.float64)


def part_ms(table: LatencyTable, options: Sequence[Sequence[OpKey]]) -> Times:
    """Milliseconds that each option of one part adds to a network, [len(options)]; an option without blocks adds 0.

    With ``costs`` the result of every part and ``chosen`` [N, parts] the option of each of N networks in each of them,
    all estimates are ``table.overhead_ms + sum(c[chosen[:, i]] for i, c in enumerate(costs))``.

    Raises:
        MissingOp: the table has no time for a block.
    """
    return np.array([block_ms(table, ops).sum() for ops in options], dtype=np.float64)


def _median_ms(table: LatencyTable, key: OpKey) -> float:
    latency = table.entries.get(key)
    if latency is None:
        raise MissingOp(key, table, nearest_op(key, table.entries))
    return latency.median_ms
