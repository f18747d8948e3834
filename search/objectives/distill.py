"""Distill: a network learns the relations that the largest one of the same step sees, softly and in place.

Yu et al., BigNAS, ECCV 2020, with relations to other images in the place of classes (Fang et al., SEED, ICLR 2021;
Zhao et al., SlimCLR, arXiv:2209.15525, for networks that share weights). Both see the same view.

Symbols: B images, D features of a projection, N images to compare with.
"""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from search.objectives.ressl import relation_loss

# The teacher's temperature, as a share of the student's.
_SHARPER = 0.5


def distillation(z_BD: Tensor, largest_BD: Tensor, others_ND: Tensor | None, temperature: float) -> Tensor:
    """Cross-entropy of a network's relations against the largest one's, which gets no gradient; a scalar in fp32.

    Args:
        z_BD: projections of the network, of any length.
        largest_BD: of the largest one, from the same views.
        others_ND: L2-normalized, what both are related to; None takes the largest network's own projections.
        temperature: of the network; the largest one's is half of it.
    """
    with torch.autocast(z_BD.device.type, enabled=False):
        k_BD = F.normalize(largest_BD.detach().float(), dim=1)
        others_ND = k_BD if others_ND is None else others_ND
        return relation_loss(F.normalize(z_BD.float(), dim=1), k_BD, others_ND, temperature, temperature * _SHARPER)
