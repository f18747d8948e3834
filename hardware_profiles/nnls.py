"""Non-negative least squares: SciPy's solver, for rows whose columns differ by many orders of magnitude.

Lawson and Hanson, Solving Least Squares Problems, 1974, chapter 23.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls  # type: ignore[import-untyped]

Numbers = NDArray[np.float64]


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
