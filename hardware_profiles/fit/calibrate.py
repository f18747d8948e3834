"""Calibrate: from sums of block times to times of whole networks, and how far off the result is.

What a network costs beyond its blocks is modelled by two numbers, ``overhead_ms + scale * sum``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr  # type: ignore[import-untyped]

from hardware_profiles.types import Validation

Times = NDArray[np.float64]


def calibrate(sums_ms: Times, networks_ms: Times) -> tuple[float, float]:
    """Fit ``overhead_ms`` and ``scale`` > 0: the line with the smallest mean relative error.

    Such a line runs through two of the points (least absolute deviations; Barrodale and Roberts 1973), or through one
    where its overhead is the smallest allowed; all are tried. A few networks that were timed wrong do not move it.

    Args:
        sums_ms: [N] sum of each network's block times.
        networks_ms: [N] its own time.

    Returns:
        overhead_ms and scale. The overhead is below 0 where blocks cost less in small networks than in large ones,
        whose maps leave the cache; by half of the smallest network's time at most. It is 0 where it would be a guess:
        fewer than 3 networks, or all of one size.
    """
    least_ms = -0.5 * float(networks_ms.min())
    scales, overheads = [networks_ms / sums_ms], [np.zeros(len(sums_ms))]
    i, j = np.triu_indices(len(sums_ms), 1)
    if len(sums_ms) >= 3 and (apart := sums_ms[i] != sums_ms[j]).any():
        i, j = i[apart], j[apart]
        scales.append((networks_ms[j] - networks_ms[i]) / (sums_ms[j] - sums_ms[i]))
        overheads.append(networks_ms[i] - scales[-1] * sums_ms[i])
        scales.append((networks_ms - least_ms) / sums_ms)
        overheads.append(np.full(len(sums_ms), least_ms))
    scale_L, overhead_L = np.concatenate(scales), np.concatenate(overheads)  # noqa: N806 - L lines
    errors_L = np.abs(overhead_L[:, None] + scale_L[:, None] * sums_ms - networks_ms) / networks_ms  # noqa: N806
    possible_L = (scale_L > 0) & (overhead_L >= least_ms)  # noqa: N806
    best = int(np.where(possible_L, errors_L.mean(axis=1), np.inf).argmin())
    return round(float(overhead_L[best]), 6), round(float(scale_L[best]), 6)


def validate(predicted_ms: Times, measured_ms: Times) -> Validation:
    """Compare predictions with times of networks that the fit has not seen, [N] each; errors relative to the times."""
    errors = 100 * (predicted_ms - measured_ms) / measured_ms
    # The ranks of equal numbers say nothing.
    ranked = min(np.ptp(predicted_ms), np.ptp(measured_ms)) > 0
    tau, rho = (float(rank(predicted_ms, measured_ms).statistic) if ranked else 0.0 for rank in (kendalltau, spearmanr))
    return Validation(
        networks=len(errors),
        mape_percent=round(float(np.mean(np.abs(errors))), 3),
        within_5_percent=round(100 * float(np.mean(np.abs(errors) <= 5)), 3),
        within_10_percent=round(100 * float(np.mean(np.abs(errors) <= 10)), 3),
        bias_percent=round(float(np.mean(errors)), 3) + 0.0,  # -0.0 would show
        kendall_tau=round(tau, 4),
        spearman_rho=round(rho, 4),
        median_percent=round(float(np.median(np.abs(errors))), 3),
    )
