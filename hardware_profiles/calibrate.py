"""Calibrate: from sums of block times to times of whole networks, and how far off the result is.

What a network costs beyond its blocks is modelled by two numbers, ``overhead_ms + scale * sum``.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from hardware_profiles.types import Validation

Times = NDArray[np.float64]


def calibrate(sums_ms: Times, networks_ms: Times) -> tuple[float, float]:
    """Fit ``overhead_ms`` >= 0 and ``scale`` > 0.

    Medians throughout (Theil 1950, Sen 1968): up to a quarter of the networks may have been timed wrong.

    Args:
        sums_ms: [N] sum of each network's block times.
        networks_ms: [N] its own time.

    Returns:
        overhead_ms and scale; the overhead is 0 where the fit would make it negative, or where it would be a guess:
        fewer than 3 networks, or all of one size.
    """
    pairs = itertools.combinations(range(len(sums_ms)), 2)
    slopes = [
        (networks_ms[i] - networks_ms[j]) / (sums_ms[i] - sums_ms[j]) for i, j in pairs if sums_ms[i] != sums_ms[j]
    ]
    if len(sums_ms) >= 3 and slopes:
        scale = float(np.median(slopes))
        overhead_ms = float(np.median(networks_ms - scale * sums_ms))
        if scale > 0 and overhead_ms >= 0:
            return round(overhead_ms, 6), round(scale, 6)
    return 0.0, round(float(np.median(networks_ms / sums_ms)), 6)


def validate(predicted_ms: Times, measured_ms: Times) -> Validation:
    """Compare predictions with times of networks that the fit has not seen, [N] each; errors relative to the times."""
    errors = 100 * (predicted_ms - measured_ms) / measured_ms
    return Validation(
        networks=len(errors),
        mape_percent=round(float(np.mean(np.abs(errors))), 3),
        within_5_percent=round(100 * float(np.mean(np.abs(errors) <= 5)), 3),
        within_10_percent=round(100 * float(np.mean(np.abs(errors) <= 10)), 3),
        bias_percent=round(float(np.mean(errors)), 3) + 0.0,  # -0.0 would show
        kendall_tau=round(kendall_tau(predicted_ms, measured_ms), 4),
        spearman_rho=round(spearman_rho(predicted_ms, measured_ms), 4),
    )


def kendall_tau(a: Times, b: Times) -> float:
    """Rank correlation tau-b (Kendall 1945) of two [N]; 0 where one of them is constant."""
    agree = pairs_a = pairs_b = 0.0
    for i in range(len(a) - 1):  # row by row: all pairs of 4,000 networks at once would take 400 MB
        signs_a, signs_b = np.sign(a[i + 1 :] - a[i]), np.sign(b[i + 1 :] - b[i])
        agree += float(signs_a @ signs_b)
        pairs_a += float(signs_a @ signs_a)
        pairs_b += float(signs_b @ signs_b)
    untied = float(np.sqrt(pairs_a * pairs_b))
    return agree / untied if untied else 0.0


def spearman_rho(a: Times, b: Times) -> float:
    """Correlation of the ranks (Spearman 1904) of two [N], ties sharing their mean rank; 0 where one is constant."""
    ranks_a, ranks_b = _ranks(a), _ranks(b)
    spread = float(np.std(ranks_a) * np.std(ranks_b))
    return float(np.mean((ranks_a - ranks_a.mean()) * (ranks_b - ranks_b.mean()))) / spread if spread else 0.0


def _ranks(values: Times) -> Times:
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[where], dtype=np.float64)
