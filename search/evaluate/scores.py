"""Scores of predictions on labelled pictures: accuracy, average precision of boxes, overlap of masks.

Box precision is COCO's, computed by faster-coco-eval; accuracy and overlap are what torchmetrics computes, from a
matrix of counts.
"""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Score:
    """How good predictions are, 0 to 1.

    Args:
        values: by name; the first one is what training is steered by.
        per_class: the same for each class; NaN where the labels have none of it.
        images: that were judged.
    """

    values: Mapping[str, float]
    per_class: tuple[float, ...]
    images: int

    @property
    def main(self) -> float:
        """The first value."""
        return next(iter(self.values.values()))

    def __str__(self) -> str:
        """``mAP 31.2 %, mAP50 58.0 %``."""
        return ", ".join(f"{name} {100 * value:.1f} %" for name, value in self.values.items())


def score_classes(logits_NK: Array, labels_N: Array) -> Score:
    """Share of images whose class has the highest logit, or one of the five highest; for each class its recall."""
    classes = logits_NK.shape[1]
    order_NK = np.argsort(-logits_NK, axis=1, kind="stable")
    hit_N = order_NK[:, 0] == labels_N
    top5_N = (order_NK[:, :5] == labels_N[:, None]).any(1)
    per_class = tuple(
        float(hit_N[labels_N == k].mean()) if (labels_N == k).any() else float("nan") for k in range(classes)
    )
    values = {"top-1": float(hit_N.mean()), **({"top-5": float(top5_N.mean())} if classes > 5 else {})}
    return Score(values=values, per_class=per_class, images=len(labels_N))


def score_boxes(found: Sequence[Array], known: Sequence[tuple[Array, Array]], classes: int) -> Score:
    """COCO's average precision, over overlaps of .5 to .95 and at .5.

    Args:
        found: of each image, [D, 6]: x0, y0, x1, y1, score, class.
        known: of each image, boxes [M, 4] and labels [M].
        classes: how many.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    images = [{"id": i + 1, "width": 1, "height": 1} for i in range(len(known))]
    rows: list[dict[str, Any]] = []
    for i, (boxes_M4, labels_M) in enumerate(known):
        for box_4, label in zip(boxes_M4, labels_M, strict=True):
            rows.append(_row(i, box_4, int(label)) | {"id": len(rows) + 1, "iscrowd": 0})
    truth = {"images": images, "annotations": rows, "categories": [{"id": k, "name": str(k)} for k in range(classes)]}
    results = [
        _row(i, one_6[:4], int(one_6[5])) | {"score": float(one_6[4])} for i, one in enumerate(found) for one_6 in one
    ]
    if not results:
        nothing = tuple(
            0.0 if any((labels == k).any() for _, labels in known) else float("nan") for k in range(classes)
        )
        return Score(values={"mAP": 0.0, "mAP50": 0.0}, per_class=nothing, images=len(known))
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO(truth)
        judge = COCOeval_faster(reference, reference.loadRes(results), "bbox", print_function=lambda *_: None)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    precision_TRK = np.asarray(judge.eval["precision"])[:, :, :, 0, -1]  # all areas, 100 detections
    kept = [precision_TRK[:, :, k] for k in range(classes)]
    per_class = tuple(float(one[one > -1].mean()) if (one > -1).any() else float("nan") for one in kept)
    values = {"mAP": float(judge.stats[0]), "mAP50": float(judge.stats[1])}
    return Score(values=values, per_class=per_class, images=len(known))


class MaskCounts:
    """Counts of pixels by true and by found class, image after image.

    Args:
        classes: how many.
        ignored: the value of pixels that are not judged.
    """

    def __init__(self, classes: int, ignored: int) -> None:
        self._counts_KK = np.zeros((classes, classes), np.int64)
        self._classes, self._ignored, self._images = classes, ignored, 0

    def add(self, found_HW: Array, known_HW: Array) -> None:
        """Count one image."""
        judged = known_HW != self._ignored
        pairs = self._classes * known_HW[judged].astype(np.int64) + found_HW[judged]
        self._counts_KK += np.bincount(pairs, minlength=self._classes**2).reshape(self._classes, -1)
        self._images += 1

    def score(self) -> Score:
        """Mean intersection over union of the classes that were seen or found, and share of pixels that are right."""
        right_K, union_K = np.diag(self._counts_KK), self._counts_KK.sum(0) + self._counts_KK.sum(1)
        union_K = union_K - right_K
        with np.errstate(invalid="ignore"):
            iou_K = right_K / union_K
        values = {"mIoU": float(np.nanmean(iou_K)), "pixel accuracy": float(right_K.sum() / self._counts_KK.sum())}
        return Score(values=values, per_class=tuple(map(float, iou_K)), images=self._images)


def _row(image: int, box_4: Array, label: int) -> dict[str, Any]:
    x0, y0, x1, y1 = (float(value) for value in box_4)
    box = [x0, y0, x1 - x0, y1 - y0]
    return {"image_id": image + 1, "category_id": label, "bbox": box, "area": box[2] * box[3]}
