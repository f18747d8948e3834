"""Work: what a block has to do, told from its sizes alone; the same on every device.

Four numbers for each block, in the order of ``TERMS``; all but the first grow with the pixels of its map. They say how
the times of blocks relate where times alone cannot: how much of a block's time would grow with the resolution
(``resize``), and what a block costs that is in every network (``fit``).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from hardware_profiles.types import OpKey

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
