"""The scores for detection and segmentation: whether two networks see the same structure in their feature maps.

Positions are compared with positions inside each network, so the networks may differ in channels. DATA's released dense
criterion is the product of two Gram matrices of unit features; it is largest for a network that maps everything to one
point. Here both are centered and normalized (centered kernel alignment, Cortes et al., JMLR 2012; Kornblith et al.,
ICML 2019), which such a network scores 0. All levels count alike. A map is pooled to at most 8x8 positions first.

- *layout*, for detection: the Gram matrix of each image's positions. What belongs together, and what stands out?
- *palette*, for segmentation: all positions of all images in one Gram matrix. Is grass here like grass there?
- *rows* of a layout, as DATA compares them.

Symbols: B images, C channels, P positions of a map, N = B * P.
"""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_MOST_POSITIONS = 8  # a side
# What is left of a constant map after centering, as a share of its energy: rounding of float32 features.
_NOTHING = 1e-10


def layout_agreement(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> float:
    """Mean over levels and images of the alignment of their layouts, in [0, 1].

    Args:
        student: layouts of the network that is scored, one a level.
        teacher: layouts of the largest network, same images in the same order.

    Raises:
        ValueError: there is no level, or their numbers differ.
    """
    return _mean([(s * t).sum(1).mean() for s, t in _pairs(student, teacher)])


def palette_agreement(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> float:
    """Mean over levels of the alignment of their palettes, in [0, 1]; arguments and errors as ``layout_agreement``."""
    return _mean([(s.T @ t).square().sum() for s, t in _pairs(student, teacher)])


def layout(map_BCHW: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, P * P]: each image's centered Gram matrix of positions, of length 1; 0 for a constant map."""
    x_BPC = _centered(_positions(map_BCHW), dim=1)
    return F.normalize((x_BPC @ x_BPC.mT).flatten(1), dim=1, eps=1e-30)


def palette(map_BCHW: Tensor) -> Tensor:
    """[B, C, H, W] -> [N, C]: centered features whose Gram matrix has length 1; 0 for a constant map.

    The N x N matrices K = X X' need not be formed: <K, L> = |X' Y|^2.
    """
    x_NC = _centered(_positions(map_BCHW).flatten(0, 1), dim=0)
    length: Tensor = (x_NC.T @ x_NC).norm()
    return x_NC / length.sqrt().clamp(min=1e-30)


def gram_rows(map_BCHW: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, P, P]: cosines of each position with all others, minus their mean over the image."""
    x_BPC = _positions(map_BCHW)
    rows_BPP = x_BPC @ x_BPC.mT
    return rows_BPP - rows_BPP.mean(2, keepdim=True)


def row_agreement(student_BPP: Tensor, teacher_BPP: Tensor) -> float:
    """Mean cosine in [-1, 1] of the rows of two networks; 0 where a network tells no position from another.

    DATA's dense criterion with its rows centered and normalized, without which a collapsed network is the best.
    """
    return float(F.cosine_similarity(student_BPP, teacher_BPP, dim=2, eps=1e-6).mean())


def _positions(map_BCHW: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, P, C]: pooled, unit vectors, in double."""
    height, width = (min(side, _MOST_POSITIONS) for side in map_BCHW.shape[2:])
    pooled_BCHW = F.adaptive_avg_pool2d(map_BCHW, (height, width))
    return F.normalize(pooled_BCHW.double().flatten(2).mT, dim=2)


def _centered(x: Tensor, dim: int) -> Tensor:
    """Minus the mean over ``dim``; exactly 0 where only rounding would be left."""
    y = x - x.mean(dim, keepdim=True)
    dims = tuple(range(dim, x.ndim))
    left, had = (z.square().sum(dims, keepdim=True) for z in (y, x))
    return torch.where(left > _NOTHING * had, y, 0.0)


def _pairs(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    if not teacher or len(student) != len(teacher):
        raise ValueError(f"{len(student)} and {len(teacher)} levels cannot be compared; look at maps of 2x2 or more")
    return list(zip(student, teacher, strict=True))


def _mean(levels: Sequence[Tensor]) -> float:
    return float(torch.stack(list(levels)).mean())
