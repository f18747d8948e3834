"""The score for classification: whether two networks place the same images alike.

The label-free criterion of DATA (CVPR 2022, section 4): the mean cosine between the projected embeddings of the subnet
and of the largest network, image by image, for the same crop; here centered, so that a collapsed network scores 0.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def agreement(student_BD: Tensor, teacher_BD: Tensor) -> float:  # noqa: N803
    """Mean cosine in [-1, 1] between rows of the same image; 1 for a perfect copy, 0 for unrelated features.

    Rows are centered over the images first, so that a constant map scores 0 however close it is to the mean.

    Args:
        student_BD: projections of the network that is scored.
        teacher_BD: projections of the largest network, same images in the same order.
    """
    # In double, what is left of a constant map after centering is far below eps, and counts as nothing.
    unit = (F.normalize(z_BD.double(), dim=1) for z_BD in (student_BD, teacher_BD))
    s_BD, t_BD = (z_BD - z_BD.mean(0) for z_BD in unit)  # noqa: N806
    return float(F.cosine_similarity(s_BD, t_BD, dim=1, eps=1e-6).mean())


@torch.no_grad()
def projections(backbone: torch.nn.Module, projector: torch.nn.Module, batch_BCHW: Tensor) -> Tensor:  # noqa: N803
    """[B, 3, H, W] -> [B, D] with the batch's own normalization statistics: recalibrating on it, in one pass."""
    backbone.train()
    projector.train()
    z_BD: Tensor = projector(backbone(batch_BCHW))  # noqa: N806
    backbone.eval()
    projector.eval()
    return z_BD
