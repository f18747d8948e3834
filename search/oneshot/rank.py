"""Rank: how many directions a network's embeddings use; few or none mean that it has collapsed.

Symbols: B images, D features of an embedding.
"""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Rank:
    """Of a batch of embeddings, each normalized to length 1.

    Args:
        spread: their standard deviation, the root of the sum over all features: 0 where all are one, 1 where they point
            everywhere (Chen and He, SimSiam, CVPR 2021, section 4.1, times the root of D).
        effective: exp of the entropy of their singular values, mean taken off (Garrido et al., RankMe, ICML 2023,
            equation 1): 1 where they lie on a line, at most B - 1 or D.
    """

    spread: float
    effective: float


@torch.no_grad()
def rank_of(z_BD: Tensor) -> Rank:
    """Of at least two embeddings of any length.

    Example:
        >>> rank_of(torch.eye(3)).effective  # three corners of a triangle, in a plane
        2.0
    """
    centered_BD = F.normalize(z_BD.detach().double(), dim=1)
    centered_BD -= centered_BD.mean(dim=0)
    spread = float(centered_BD.square().sum(dim=1).mean().sqrt())
    p = torch.linalg.svdvals(centered_BD)
    p = p / p.sum().clamp(min=1e-12)
    effective = float(torch.exp(-(p * p.clamp(min=1e-12).log()).sum()))
    return Rank(spread=spread, effective=round(effective, 6))
