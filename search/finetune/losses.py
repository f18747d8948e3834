"""Losses of the three tasks.

Boxes: positives are assigned by how well a position's class and box already fit an object (TOOD, Feng et al., ICCV
2021, arXiv:2108.07755, equations 1 and 3; exponents and the ten best as there); boxes by GIoU (Rezatofighi et al., CVPR
2019); the third output learns the overlap itself, as in IoU-aware RetinaNet (arXiv:1912.05992).
"""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape; A: positions, M: objects of an image, C: classes.

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou, generalized_box_iou_loss

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
    return loss / (targets.masks_NHW != IGNORED).sum().clamp(min=1)


def box_loss(outputs: Mapping[str, Tensor], points_A3: Tensor, targets: Targets) -> Tensor:
    """Class, box and overlap loss, over the sum of the targets.

    Args:
        outputs: of ``search.nets.heads.DetHead``.
        points_A3: center and stride of every position.
        targets: of the images.
    """
    logits_NAC, boxes_NA4 = outputs["logits"].float(), outputs["boxes"].float()
    overlap_NA = outputs["centerness"].float()[..., 0]
    wanted_NAC = torch.zeros_like(logits_NAC)
    box_loss, overlap_loss = logits_NAC.new_zeros(()), logits_NAC.new_zeros(())
    for i, (boxes_M4, labels_M) in enumerate(zip(targets.boxes, targets.labels, strict=True)):
        if not len(boxes_M4):
            continue
        object_A, quality_A = assign(logits_NAC[i].detach(), boxes_NA4[i].detach(), points_A3, boxes_M4, labels_M)
        (positive,) = (object_A >= 0).nonzero(as_tuple=True)
        its = object_A[positive]
        wanted_NAC[i, positive, labels_M[its]] = quality_A[positive]
        found, known = boxes_NA4[i, positive], boxes_M4[its]
        box_loss = box_loss + (generalized_box_iou_loss(found, known) * quality_A[positive]).sum()
        with torch.no_grad():
            iou = box_iou(found, known).diagonal()
        overlap_loss = overlap_loss + F.binary_cross_entropy_with_logits(
            overlap_NA[i, positive], iou, weight=quality_A[positive], reduction="sum"
        )
    scale = wanted_NAC.sum().clamp(min=1.0)
    class_sum = F.binary_cross_entropy_with_logits(logits_NAC, wanted_NAC, reduction="sum")
    return (class_sum + _BOX_WEIGHT * box_loss + _OVERLAP_WEIGHT * overlap_loss) / scale


@torch.no_grad()
def assign(
    logits_AC: Tensor, boxes_A4: Tensor, points_A3: Tensor, known_M4: Tensor, labels_M: Tensor
) -> tuple[Tensor, Tensor]:
    """Which object each position is to find.

    Args:
        logits_AC: of the classes.
        boxes_A4: that the positions propose now.
        points_A3: x, y and stride of each position.
        known_M4: the objects, at least one.
        labels_M: their classes.

    Returns:
        An object's number or -1 [A]; and how much of it is asked for, 0 to 1 [A].
    """
    iou_MA = box_iou(known_M4, boxes_A4)
    fit_MA = logits_AC.sigmoid().T[labels_M] ** _CLASS_POWER * iou_MA**_OVERLAP_POWER
    x_A, y_A, stride_A = points_A3.unbind(1)
    x0, y0, x1, y1 = (side[:, None] for side in known_M4.unbind(1))
    inside = (x_A > x0) & (x_A < x1) & (y_A > y0) & (y_A < y1)
    apart_MA = torch.maximum((x_A - (x0 + x1) / 2).abs(), (y_A - (y0 + y1) / 2).abs())
    allowed_MA = inside | (apart_MA < _NEAR_STRIDES * stride_A)
    # The nearest positions come first among those that fit alike, as all do before anything is learned.
    rank_MA = torch.where(allowed_MA, fit_MA + 1e-9 / (1 + apart_MA / stride_A), fit_MA.new_full((), -1.0))
    best = rank_MA.topk(min(_POSITIVES, rank_MA.shape[1]), dim=1)
    chosen_MA = torch.zeros_like(allowed_MA).scatter_(1, best.indices, best.values > 0)
    fit_MA = torch.where(chosen_MA, rank_MA, rank_MA.new_zeros(()))
    # A position that several objects want goes to the one it overlaps most.
    owner_A = torch.where(chosen_MA, iou_MA, iou_MA.new_full((), -1.0)).argmax(0)
    object_A = torch.where(chosen_MA.any(0), owner_A, torch.full_like(owner_A, -1))
    mine_MA = chosen_MA & (owner_A == torch.arange(len(known_M4), device=owner_A.device)[:, None])
    fit_MA, iou_MA = fit_MA * mine_MA, iou_MA * mine_MA
    # The best position of an object is asked for its overlap, the others for their share of that.
    quality_MA = fit_MA / fit_MA.amax(1, keepdim=True).clamp(min=1e-12) * iou_MA.amax(1, keepdim=True)
    return object_A, quality_MA.amax(0)
