"""Losses of the three tasks.

Boxes: positives are assigned by how well a position's class and box already fit an object (TOOD, Feng et al., ICCV
2021, arXiv:2108.07755, equations 1 and 3; exponents and the ten best as there); boxes by GIoU (Rezatofighi et al., CVPR
2019); the third output learns the overlap itself, as in IoU-aware RetinaNet (arXiv:1912.05992).
"""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape; A: positions, M: objects of an image, C: classes,
# P: positions that are to find an object.

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou, generalized_box_iou_loss

from search import ranks
from search.labels.arrays import Targets
from search.labels.samples import IGNORED

_CLASS_POWER, _OVERLAP_POWER, _POSITIVES = 1.0, 6.0, 10
_BOX_WEIGHT, _OVERLAP_WEIGHT = 2.0, 0.5
# Positions this many strides from an object's center may take it, however small it is.
_NEAR_STRIDES = 1.0
_SMOOTHING = 0.1


def class_loss(logits_NC: Tensor, targets: Targets) -> Tensor:
    """Cross-entropy with smoothed labels."""
    return F.cross_entropy(logits_NC, targets.labels_N, label_smoothing=_SMOOTHING)


def mask_loss(logits_NChw: Tensor, targets: Targets) -> Tensor:
    """Cross-entropy of every pixel of the mask, with logits enlarged to its size."""
    assert targets.masks_NHW is not None
    logits_NCHW = F.interpolate(logits_NChw, size=targets.masks_NHW.shape[-2:], mode="bilinear", align_corners=False)
    loss = F.cross_entropy(logits_NCHW, targets.masks_NHW, ignore_index=IGNORED, reduction="sum")
    return loss / _divisor((targets.masks_NHW != IGNORED).sum())


def box_loss(outputs: Mapping[str, Tensor], points_A3: Tensor, targets: Targets) -> Tensor:
    """Class, box and overlap loss, over the sum of the targets.

    Args:
        outputs: of ``search.nets.heads.DetHead``.
        points_A3: center and stride of every position.
        targets: of the images.
    """
    assert targets.boxes_NM4 is not None and targets.labels_NM is not None
    logits_NAC, boxes_NA4 = outputs["logits"].float(), outputs["boxes"].float()
    object_NA, quality_NA = assign(logits_NAC.detach(), boxes_NA4.detach(), points_A3, targets)
    n_P, a_P = (object_NA >= 0).nonzero(as_tuple=True)
    m_P, quality_P = object_NA[n_P, a_P], quality_NA[n_P, a_P]
    wanted_NAC = torch.zeros_like(logits_NAC)
    wanted_NAC[n_P, a_P, targets.labels_NM[n_P, m_P]] = quality_P
    found_P4, known_P4 = boxes_NA4[n_P, a_P], targets.boxes_NM4[n_P, m_P]
    box_sum = (generalized_box_iou_loss(found_P4, known_P4) * quality_P).sum()
    iou_P = box_iou(found_P4.detach()[:, None], known_P4[:, None])[:, 0, 0]
    overlap_sum = F.binary_cross_entropy_with_logits(
        outputs["centerness"].float()[n_P, a_P, 0], iou_P, weight=quality_P, reduction="sum"
    )
    class_sum = F.binary_cross_entropy_with_logits(logits_NAC, wanted_NAC, reduction="sum")
    total: Tensor = class_sum + _BOX_WEIGHT * box_sum + _OVERLAP_WEIGHT * overlap_sum
    return total / _divisor(quality_P.sum())


def _divisor(total: Tensor) -> Tensor:
    """At least 1; of a batch that several processes share each one's part, so that their mean loss is the batch's."""
    return ranks.mean(total).clamp(min=1 / ranks.count())


@torch.no_grad()
def assign(logits_NAC: Tensor, boxes_NA4: Tensor, points_A3: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """Which object each position is to find.

    Args:
        logits_NAC: of the classes.
        boxes_NA4: that the positions propose now.
        points_A3: x, y and stride of each position.
        targets: the objects.

    Returns:
        An object's number or -1 [N, A]; and how much of it is asked for, 0 to 1 [N, A].
    """
    known_NM4, labels_NM = targets.boxes_NM4, targets.labels_NM
    assert known_NM4 is not None and labels_NM is not None
    iou_NMA = box_iou(known_NM4, boxes_NA4)
    index_NMA = labels_NM.clamp(min=0)[..., None].expand(-1, -1, logits_NAC.shape[1])
    score_NMA = logits_NAC.sigmoid().transpose(1, 2).gather(1, index_NMA)
    fit_NMA = score_NMA**_CLASS_POWER * iou_NMA**_OVERLAP_POWER
    x_A, y_A, stride_A = points_A3.unbind(1)
    x0, y0, x1, y1 = (side[..., None] for side in known_NM4.unbind(2))
    inside = (x_A > x0) & (x_A < x1) & (y_A > y0) & (y_A < y1)
    apart_NMA = torch.maximum((x_A - (x0 + x1) / 2).abs(), (y_A - (y0 + y1) / 2).abs())
    allowed_NMA = (inside | (apart_NMA < _NEAR_STRIDES * stride_A)) & (labels_NM[..., None] >= 0)
    # The nearest positions come first among those that fit alike, as all do before anything is learned.
    rank_NMA = torch.where(allowed_NMA, fit_NMA + 1e-9 / (1 + apart_NMA / stride_A), fit_NMA.new_full((), -1.0))
    best = rank_NMA.topk(min(_POSITIVES, rank_NMA.shape[2]), dim=2)
    chosen_NMA = torch.zeros_like(allowed_NMA).scatter_(2, best.indices, best.values > 0)
    fit_NMA = torch.where(chosen_NMA, rank_NMA, 0.0)
    # A position that several objects want goes to the one it overlaps most.
    owner_NA = torch.where(chosen_NMA, iou_NMA, iou_NMA.new_full((), -1.0)).argmax(1)
    object_NA = torch.where(chosen_NMA.any(1), owner_NA, torch.full_like(owner_NA, -1))
    numbers_M = torch.arange(known_NM4.shape[1], device=owner_NA.device)
    mine_NMA = chosen_NMA & (owner_NA[:, None] == numbers_M[:, None])
    fit_NMA, iou_NMA = torch.where(mine_NMA, fit_NMA, 0.0), torch.where(mine_NMA, iou_NMA, 0.0)
    # The best position of an object is asked for its overlap, the others for their share of that.
    quality_NMA = fit_NMA / fit_NMA.amax(2, keepdim=True).clamp(min=1e-12) * iou_NMA.amax(2, keepdim=True)
    return object_NA, quality_NMA.amax(1)
