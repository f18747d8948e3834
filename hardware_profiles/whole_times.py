"""Times of whole networks, checked: what ``fit`` and ``adapt`` start from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hardware_profiles.errors import BadTimes
from hardware_profiles.types import Check, OpKey

Numbers = NDArray[np.float64]
MAX_CHECKS = 200


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
