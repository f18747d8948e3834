"""Fit: a latency table from times of whole networks, for devices where single blocks cannot be timed.

A network's time is a constant plus the times of its blocks, none of them negative; the sum of squared relative errors
is made as small as possible. Some blocks no number of networks tells apart: one that is in all of them (a stem) from
the constant, and a layer that is never skipped from it, too. Only there the work of the blocks decides (``work``): the
fit leans towards it, so weakly that no network's estimate moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hardware_profiles.errors import BadTimes
from hardware_profiles.fit.calibrate import validate
from hardware_profiles.fit.work import (
    Numbers,
    checked_times,
    checks_of,
    count_blocks,
    solve_nonnegative,
    solve_relative,
    work,
)
from hardware_profiles.types import DeviceProfile, Latency, LatencyTable, OpKey

UNSEEN = 0.2  # of the networks: they tell the error
_MIN_NETWORKS_A_BLOCK = 3  # fewer leave a block's time to the noise of one network
# Against 1, the weight of a network's relative error.
_LEAN = 1e-8


def fit_table(
    networks: Sequence[Sequence[OpKey]],
    times_ms: Sequence[float],
    *,
    device: DeviceProfile,
    net: str,
    resolution_px: int,
    measured_at: str,
    seed: int = 0,
) -> LatencyTable:
    """Fit a table on 80 % of the networks and validate it on the others.

    Args:
        networks: the blocks of each network.
        times_ms: how long each takes on the device, in milliseconds.
        device: that device; its ``source`` becomes ``fitted``.
        net: the net's name.
        resolution_px: side of the networks' input.
        measured_at: when the times were taken, for people.
        seed: of the split.

    Returns:
        A table of every block of those networks. An entry's ``p90_ms`` is its median, for whole networks do not tell
        how a block varies; its ``samples`` are the networks that hold it.

    Raises:
        BadTimes: impossible times, or too few networks for so many blocks.
    """
    times = checked_times(times_ms, networks=len(networks))
    ops = sorted({key for network in networks for key in network}, key=_from_input_to_output)
    counts = count_blocks(networks, ops)
    unseen, seen = np.split(np.random.default_rng(seed).permutation(len(times)), [round(UNSEEN * len(times))])
    samples = np.count_nonzero(counts[seen], axis=0)
    _check_enough(len(times), samples, ops)
    overhead_ms, block_ms = solve(counts[seen], times[seen], work(ops))
    predicted_ms = overhead_ms + counts[unseen] @ block_ms
    return LatencyTable(
        device=replace(device, source="fitted"),
        net=net,
        resolution_px=resolution_px,
        entries={
            key: Latency(median_ms=ms, p90_ms=ms, samples=n)
            for key, ms, n in zip(ops, block_ms.tolist(), samples.tolist(), strict=True)
        },
        overhead_ms=overhead_ms,
        scale=1.0,
        validation=validate(predicted_ms, times[unseen]),
        measured_at=measured_at,
        checks=checks_of(predicted_ms, times[unseen]),
    )


def solve(counts: Numbers, times_ms: Numbers, block_work: Numbers) -> tuple[float, Numbers]:
    """The constant, and the time of each block [B]; milliseconds, in whole nanoseconds.

    Args:
        counts: [N, B], how often each network holds each block.
        times_ms: [N].
        block_work: [B, 4], see ``work``.
    """
    by_work = solve_relative(_with_constant(counts @ block_work), times_ms)
    lean_ms = block_work @ by_work[1:]
    # A block is off by a fraction of its lean, as a network by a fraction of its time.
    weights = np.sqrt(_LEAN) / np.maximum(lean_ms, 1e-4 * times_ms.mean())
    rows = np.vstack([_with_constant(counts) / times_ms[:, None], np.insert(np.diag(weights), 0, 0.0, axis=1)])
    goals = np.concatenate([np.ones(len(times_ms)), weights * lean_ms])
    solution = np.round(solve_nonnegative(rows, goals), 6)
    return float(solution[0]), solution[1:]


def _from_input_to_output(key: OpKey) -> tuple[int, int, int, OpKey]:
    """As a reader would look for it: maps shrink and channels grow along a network."""
    return -key.height_px * key.width_px, key.c_in, key.c_out, key


def _with_constant(columns: Numbers) -> Numbers:
    return np.insert(columns, 0, 1.0, axis=1)


def _check_enough(networks: int, samples: NDArray[np.int64], ops: Sequence[OpKey]) -> None:
    if (1 - UNSEEN) * networks < len(ops):
        raise BadTimes(
            f"{networks} networks are too few to tell {len(ops)} blocks apart; time {3 * len(ops)}"
            f" (zoo devices sample -n {3 * len(ops)}), or adapt known tables with 10 (zoo devices adapt)"
        )
    rare = int(samples.argmin())
    if samples[rare] < _MIN_NETWORKS_A_BLOCK:
        raise BadTimes(
            f"{ops[rare]} is in {samples[rare]} of the networks that are fitted; time more that hold it, 4 at least"
        )
