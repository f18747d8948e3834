"""Detections: the boxes that remain of all that a detector proposes, by torch.

See ``export.graph.nms`` for the same inside an ONNX graph.

A detector's dense outputs are ``boxes`` ``[N, A, 4]`` (x0, y0, x1, y1 in pixels) and ``scores`` ``[N, A, C]`` (0 to 1):
A proposals, each with its box and a score for each of C classes. Its ``detections`` are ``[N, 100, 6]``: box, score
and class of the best, zeros where there are fewer.
"""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[Any]

DETECTIONS = "detections"
MOST, MIN_SCORE, MAX_IOU = 100, 0.05, 0.5  # COCO's 100 boxes, RetinaNet's score and overlap
_CLASS = 5  # where a row [x, y, x, y, score, class] holds it


def select(boxes_NA4: Array, scores_NAC: Array) -> Array:
    """Dense outputs -> detections ``[N, 100, 6]``: per class, no two overlap by more than ``MAX_IOU``."""
    rows = [_select_one(torch.from_numpy(b), torch.from_numpy(s)) for b, s in zip(boxes_NA4, scores_NAC, strict=True)]
    return np.stack(rows)


def agreement(reference_ND6: Array, candidate_ND6: Array) -> float | None:
    """Share of both sides' detections that have a partner of the same class, overlapping by at least ``MAX_IOU``.

    None without any detection on either side: nothing was compared.
    """
    matched = total = 0
    for reference_D6, candidate_D6 in zip(reference_ND6, candidate_ND6, strict=True):
        r_D6, c_D6 = (torch.from_numpy(side_D6[side_D6[:, 4] > 0]) for side_D6 in (reference_D6, candidate_D6))
        total += len(r_D6) + len(c_D6)
        matched += 2 * _partners(r_D6, c_D6)
    return matched / total if total else None


def with_detections(outputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs of a detector, their detections among them."""
    if DETECTIONS in outputs or not {"boxes", "scores"} <= outputs.keys():
        return dict(outputs)
    return {**outputs, DETECTIONS: select(outputs["boxes"], outputs["scores"])}


def _select_one(boxes_A4: torch.Tensor, scores_AC: torch.Tensor) -> Array:
    from torchvision.ops import batched_nms  # a second and a half, which a package that is only loaded need not wait

    proposal_D, class_D = (scores_AC > MIN_SCORE).nonzero(as_tuple=True)
    score_D, box_D4 = scores_AC[proposal_D, class_D], boxes_A4[proposal_D]
    kept = batched_nms(box_D4, score_D, class_D, MAX_IOU)[:MOST]
    found_D6 = torch.cat([box_D4[kept], score_D[kept, None], class_D[kept, None].to(score_D.dtype)], dim=1)
    rows = np.zeros((MOST, 6), np.float32)
    rows[: len(found_D6)] = found_D6.numpy()
    return rows


def _partners(r_D6: torch.Tensor, c_D6: torch.Tensor) -> int:
    """Pairs, each detection in one at most, the best of the reference choosing first."""
    if not len(r_D6) or not len(c_D6):
        return 0
    from torchvision.ops import box_iou

    iou = box_iou(r_D6[:, :4], c_D6[:, :4])
    iou[r_D6[:, None, _CLASS] != c_D6[None, :, _CLASS]] = 0
    pairs = 0
    for row in range(len(r_D6)):
        best = int(iou[row].argmax())
        if iou[row, best] >= MAX_IOU:
            iou[:, best] = 0
            pairs += 1
    return pairs
