"""Diverse: which few networks to time so that they tell the most about a device."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
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
