"""Adapt: a latency table of a new device from a few times of whole networks and the tables of known devices.

The new table is a mixture of the known ones and of the blocks' work (``work``), with non-negative weights, plus a
constant; 10 networks suffice because devices differ in few ways. Non-negative least squares on relative errors keeps
few tables and needs no tuning. ``benchmarks/onboarding.py`` leaves out one device after the other, and whole families
of them, and compares it with known tables alone, the nearest one, multiply-accumulates and a fit from scratch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hardware_profiles.errors import BadTimes
from hardware_profiles.estimate import block_ms, estimate_ms
from hardware_profiles.fit.calibrate import validate
from hardware_profiles.fit.work import Numbers, checked_times, checks_of, solve_relative, work
from hardware_profiles.types import DeviceProfile, Latency, LatencyTable, OpKey

MIN_NETWORKS = 5  # three numbers are fitted, and an error is told


def adapt_table(
    known: Sequence[LatencyTable],
    networks: Sequence[Sequence[OpKey]],
    times_ms: Sequence[float],
    *,
    device: DeviceProfile,
    measured_at: str,
) -> LatencyTable:
    """Mix ``known`` into a table of ``device``.

    Args:
        known: tables of one net at one resolution.
        networks: the blocks of each network, 10 to 20 of them.
        times_ms: how long each takes on the device, in milliseconds.
        device: the new one; its ``source`` becomes ``estimated``, its ``reference`` also tells the mixture.
        measured_at: when the times were taken, for people.

    Returns:
        A table of the blocks that all known tables have. Its validation is by cross-validation: each network is
        predicted by the mixture that the others give.

    Raises:
        BadTimes: impossible times, fewer than 5 networks, or known tables of different nets or resolutions.
        MissingOp: a known table has no time for a block of the networks.
    """
    times = checked_times(times_ms, networks=len(networks))
    _check(known, len(networks))
    says = np.array([[estimate_ms(table, network) for table in known] for network in networks])
    features = np.hstack([says, [work(network).sum(axis=0) for network in networks]])
    constant_ms, weights = mix(features, times)
    of_table, of_work = np.split(weights, [len(known)])
    ops = [key for key in known[0].entries if all(key in table.entries for table in known)]
    median_ms = of_table @ np.array([block_ms(table, ops) for table in known]) + work(ops) @ of_work
    left_out = leave_one_out(features, times)
    return LatencyTable(
        device=replace(
            device,
            source="estimated",
            reference=f"{device.reference}; {len(times)} networks timed; {_recipe(known, of_table, of_work)}"[:500],
        ),
        net=known[0].net,
        resolution_px=known[0].resolution_px,
        entries={
            key: Latency(median_ms=ms, p90_ms=ms, samples=len(times))
            for key, ms in zip(ops, np.round(median_ms, 6).tolist(), strict=True)
        },
        overhead_ms=round(constant_ms + float(of_table @ [table.overhead_ms for table in known]), 6),
        scale=1.0,
        validation=validate(left_out, times),
        measured_at=measured_at,
        checks=checks_of(left_out, times),
    )


def mix(features: Numbers, times_ms: Numbers) -> tuple[float, Numbers]:
    """The constant in milliseconds, and the weight of each of F features, [F].

    Args:
        features: [N, F], what each known table says of each network, and the work of its blocks.
        times_ms: [N], what the new device takes.
    """
    solution = solve_relative(np.insert(features, 0, 1.0, axis=1), times_ms)
    return float(solution[0]), solution[1:]


def leave_one_out(features: Numbers, times_ms: Numbers) -> Numbers:
    """Each network's time as predicted from all others, [N]; arguments as ``mix``."""
    result = np.empty(len(times_ms))
    for i in range(len(times_ms)):
        others = np.arange(len(times_ms)) != i
        constant_ms, weights = mix(features[others], times_ms[others])
        result[i] = constant_ms + features[i] @ weights
    return result


def _recipe(known: Sequence[LatencyTable], of_table: Numbers, of_work: Numbers) -> str:
    parts = [f"{weight:.3g} x {table.device.id}" for weight, table in zip(of_table, known, strict=True) if weight > 0]
    return " + ".join([*parts, *(["work"] if of_work.any() else []), "a constant"])


def _check(known: Sequence[LatencyTable], networks: int) -> None:
    if networks < MIN_NETWORKS:
        raise BadTimes(
            f"{networks} networks are too few to adapt a table; time at least {MIN_NETWORKS}, better 10 to 20:"
            " zoo devices sample -n 10"
        )
    kinds = {(table.net, table.resolution_px) for table in known}
    if len(kinds) != 1:
        found = ", ".join(f"{net} at {px} px" for net, px in sorted(kinds)) or "none"
        raise BadTimes(f"known tables must be of one net at one resolution; these are of {found}")


_PRIOR = 100.0  # variance of a weight before anything is known; above 1, so that the first choices matter


def pick_diverse(features: Numbers, count: int) -> list[int]:
    """Pick rows so that a linear model on the features is determined best; greedy D-optimal design.

    Each step takes the row whose prediction is the least certain given those taken, which makes the determinant of the
    information matrix grow most (Fedorov, Theory of Optimal Experiments, 1972; Dykstra, Technometrics, 1971).

    Args:
        features: [N, F], for instance what each known device says of each network, or its options as 0 and 1.
        count: rows to take, at most N.

    Returns:
        ``count`` different row numbers, the most telling first; the same for the same features.
    """
    if not 0 <= count <= len(features):
        raise ValueError(f"count is {count} of {len(features)} rows")
    spread = features.std(axis=0)
    scaled = (features - features.mean(axis=0))[:, spread > 0] / spread[spread > 0]
    rows = np.insert(scaled, 0, 1.0, axis=1)
    projected = _PRIOR * rows  # rows @ covariance of the weights
    variance = np.einsum("nf,nf->n", rows, projected)
    taken: list[int] = []
    for _ in range(count):
        variance[taken] = -np.inf
        best = int(variance.argmax())
        taken.append(best)
        shared = projected @ rows[best]
        projected = projected - np.outer(shared, projected[best]) / (1 + shared[best])
        variance = np.einsum("nf,nf->n", rows, projected)
    return taken
