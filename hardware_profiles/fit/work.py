"""Work: what a block has to do, told from its sizes alone; the same on every device.

Four numbers for each block, in the order of ``TERMS``; all but the first grow with the pixels of its map. They say how
the times of blocks relate where times alone cannot: how much of a block's time would grow with the resolution
(``resize``), and what a block costs that is in every network (``fit``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls  # type: ignore[import-untyped]

from hardware_profiles.errors import BadTimes
from hardware_profiles.types import Check, OpKey

Numbers = NDArray[np.float64]
TERMS = ("calls", "elements", "depthwise_macs", "pointwise_macs")


def work(ops: Iterable[OpKey]) -> NDArray[np.float64]:
    """Of each block: 1, map elements read and written, and the multiply-accumulates of an inverted residual.

    Args:
        ops: N blocks; those of another kind get the same four numbers, as a proxy.

    Returns:
        [N, 4], as ``TERMS``.
    """
    return np.array([_work(key) for key in ops], dtype=np.float64).reshape(-1, len(TERMS))


def _work(key: OpKey) -> tuple[float, float, float, float]:
    before = key.height_px * key.width_px
    after = -(-key.height_px // key.stride) * -(-key.width_px // key.stride)
    hidden = key.c_in * key.expand
    elements = before * (key.c_in + hidden) + after * (hidden + key.c_out)
    pointwise_macs = (before * key.c_in + after * key.c_out) * hidden / key.groups
    return 1.0, elements, after * hidden * key.kernel**2, pointwise_macs


def solve_nonnegative(rows: Numbers, goals: Numbers) -> Numbers:
    """Weights >= 0, [T], that make the sum of squares of ``rows @ weights - goals`` smallest.

    Args:
        rows: [N, T]; a column may be all zeros, its weight is 0 then.
        goals: [N].
    """
    size = np.abs(rows).max(axis=0)
    size[size == 0] = 1.0  # milliseconds stand beside billions of multiply-accumulates
    weights, _ = nnls(rows / size, goals, maxiter=100 * rows.shape[1])
    return np.asarray(weights / size, dtype=np.float64)


def solve_relative(rows: Numbers, times_ms: Numbers) -> Numbers:
    """As ``solve_nonnegative``, but for the squares of relative errors: a millisecond counts more in a fast network."""
    return solve_nonnegative(rows / times_ms[:, None], np.ones(len(times_ms)))


MAX_CHECKS = 200  # points of the plot that a table keeps


def checked_times(times_ms: Sequence[float], *, networks: int) -> Numbers:
    """The times as an array [N].

    Raises:
        BadTimes: not one time for each network, or one that no clock gives.
    """
    times = np.asarray(times_ms, dtype=np.float64)
    if times.shape != (networks,) or networks == 0:
        raise BadTimes(f"{times.size} times for {networks} networks; it takes one each, and at least one")
    wrong = times[~(np.isfinite(times) & (times > 0))]
    if wrong.size:
        raise BadTimes(f"a network's time is {wrong[0]} ms; it takes finite numbers above 0")
    return times


def count_blocks(networks: Sequence[Sequence[OpKey]], ops: Sequence[OpKey]) -> Numbers:
    """How often each of N networks holds each of the B blocks in ``ops``, which must be all of theirs; [N, B]."""
    column = {key: i for i, key in enumerate(ops)}
    counts = np.zeros((len(networks), len(ops)))
    for row, network in zip(counts, networks, strict=True):
        for key in network:
            row[column[key]] += 1
    return counts


def checks_of(predicted_ms: Numbers, measured_ms: Numbers) -> tuple[Check, ...]:
    """The first networks that validated a table, enough for a plot."""
    pairs = zip(predicted_ms[:MAX_CHECKS].tolist(), measured_ms[:MAX_CHECKS].tolist(), strict=True)
    return tuple(Check(predicted_ms=round(p, 4), measured_ms=round(m, 4)) for p, m in pairs)
