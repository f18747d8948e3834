"""Resize: a table carried over to another resolution; an estimate, and marked as one.

A block's time has a part that does not depend on the pixels (the call, the weights) and a part that grows with them.
How large the first one is, is read off the table itself, for each kind of block: its blocks run on maps of several
sizes, and what does not follow their work (``work``) is fixed. On a GPU at batch 1 that is nearly everything, on a
small processor nearly nothing. Caches are not modelled.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from hardware_profiles.fit.work import Numbers, solve_relative, work
from hardware_profiles.types import Latency, LatencyTable, OpKey, Scaling

# A kind with fewer blocks than this is judged together with all others.
_MIN_BLOCKS = 8


def resize_table(table: LatencyTable, resolution_px: int, width_px: int | None = None) -> LatencyTable:
    """``table`` at another resolution; at its own, ``table`` itself.

    Args:
        table: of a net whose maps halve from stride to stride, for squares.
        resolution_px: side of the input.
        width_px: of an input that is not as wide as high.

    Returns:
        A table with ``source`` ``estimated`` and no validation; ``scaling`` says where it comes from. The constant is
        kept. Blocks on the same map sizes as before keep their times.
    """
    if (resolution_px, width_px) == (table.resolution_px, table.width_px):
        return table
    ops = list(table.entries)
    sides_px = resolution_px, width_px or resolution_px
    resized = [_at(key, table.resolution_px, sides_px) for key in ops]
    pixels = np.array([key.height_px * key.width_px for key in ops], dtype=np.float64)
    growth = np.array([key.height_px * key.width_px for key in resized]) / pixels
    fixed = fixed_share(table)
    factors = (fixed + (1 - fixed) * growth).tolist()
    return replace(
        table,
        device=replace(table.device, source="estimated"),
        resolution_px=resolution_px,
        width_px=width_px,
        entries={key: _times(table.entries[op], f) for key, op, f in zip(resized, ops, factors, strict=True)},
        validation=None,
        checks=(),
        scaling=Scaling(from_px=table.resolution_px),
    )


def fixed_share(table: LatencyTable) -> Numbers:
    """Of each block, in the order of ``table.entries``, the part of its time that does not grow with pixels; [B]."""
    ops = list(table.entries)
    times_ms = np.array([latency.median_ms for latency in table.entries.values()])
    block_work = work(ops)
    shares = _fixed(block_work, times_ms)
    for kind in {key.kind for key in ops}:
        mine = np.array([key.kind == kind for key in ops])
        sizes = {key.height_px * key.width_px for key in ops if key.kind == kind}
        if mine.sum() >= _MIN_BLOCKS and len(sizes) > 1:
            shares[mine] = _fixed(block_work[mine], times_ms[mine])
    return shares


def _fixed(block_work: Numbers, times_ms: Numbers) -> Numbers:
    floor_ms = max(1e-6, 0.1 * float(times_ms.mean()))  # blocks that take next to nothing have no say
    weights = solve_relative(block_work, np.maximum(times_ms, floor_ms))
    total = block_work @ weights
    fixed = np.zeros_like(total)
    fixed[total > 0] = weights[0] / total[total > 0]
    return fixed


def _at(key: OpKey, from_px: int, to_px: tuple[int, int]) -> OpKey:
    """The same block in the network whose input has ``to_px``: strides round up, so sides are divided step by step."""
    sides = [
        math.ceil(to / 2 ** round(math.log2(from_px / side)))
        for to, side in zip(to_px, (key.height_px, key.width_px), strict=True)
    ]
    return replace(key, height_px=sides[0], width_px=sides[1])


def _times(latency: Latency, factor: float) -> Latency:
    return replace(latency, median_ms=round(latency.median_ms * factor, 6), p90_ms=round(latency.p90_ms * factor, 6))
