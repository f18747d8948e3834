"""BYOL: predict what a slowly moving teacher makes of the other view; no negatives.

Grill et al., NeurIPS 2020 (arXiv:2006.07733), equations 2 and 3. What keeps it from collapse is the predictor, which
the student has and the teacher has not, and the normalization in projector and predictor.

Symbols: B images, D features of a projection.
"""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search.nets.layers import projector_of
from search.objectives.objective import Network, Objective, Tensors, follow


class BYOL(Objective):
    """Teacher and predictor. Targets: the teacher's projections, 2 x [B, D], of both views.

    Args:
        teacher: projects views [B,3,H,W] -> [B,D]; starts as a copy of the student's largest network.
        dim: D.
        hidden_dim: width of the predictor's hidden layer.
    """

    def __init__(self, teacher: nn.Module, *, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.teacher = teacher.requires_grad_(False)
        self.predictor = projector_of(dim, hidden_dim, dim)

    @torch.no_grad()
    def targets(self, x1_BCHW: Tensor, x2_BCHW: Tensor) -> Tensors:
        """The views pass the teacher apart, each with its own normalization statistics."""
        return (self.teacher(x1_BCHW).float(), self.teacher(x2_BCHW).float())

    def encode(self, network: Network, x1_BCHW: Tensor, x2_BCHW: Tensor) -> Tensors:
        """Predictions, 2 x [B, D], from both views, apart."""
        return (self.predictor(network(x1_BCHW)), self.predictor(network(x2_BCHW)))

    def loss(self, encoded: Tensors, targets: Tensors) -> Tensor:
        """``|p/|p| - z/|z||^2 = 2 - 2 cos(p, z)`` of each prediction with the other view's target; mean over both."""
        (p1_BD, p2_BD), (z1_BD, z2_BD) = encoded, targets
        with torch.autocast(p1_BD.device.type, enabled=False):
            cosines_B = F.cosine_similarity(p1_BD.float(), z2_BD) + F.cosine_similarity(p2_BD.float(), z1_BD)
            return 2 - cosines_B.mean()

    def update(self, student: Mapping[str, Tensor], targets: Tensors, *, ema: float) -> None:
        """Move the teacher."""
        follow(self.teacher, student, ema=ema)
