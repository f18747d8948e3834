"""Scores of labelled pictures equal those of the libraries that people compare with."""

import contextlib
import io

import numpy as np
import pytest
import torch

from search.evaluate.scores import MaskCounts, score_boxes, score_classes


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_that_of_pycocotools(seed: int) -> None:
    coco, judge = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")
    rng = np.random.default_rng(seed)
    known, found = [], []
    for _ in range(12):
        corner = rng.uniform(0, 60, (rng.integers(1, 6), 2))
        boxes = np.concatenate([corner, corner + rng.uniform(5, 40, corner.shape)], 1)
        labels = rng.integers(0, 3, len(boxes))
        known.append((boxes, labels))
        moved = boxes + rng.normal(0, 3, boxes.shape)
        found.append(np.concatenate([moved, rng.uniform(0.1, 1, (len(boxes), 1)), labels[:, None]], 1))
    ours = score_boxes(found, known, 3)
    truth, results = coco.COCO(), []
    truth.dataset = {"images": [{"id": i + 1} for i in range(12)], "annotations": []}
    truth.dataset["categories"] = [{"id": k} for k in range(3)]
    for i, ((boxes, labels), mine) in enumerate(zip(known, found, strict=True)):
        for box, label in zip(boxes, labels, strict=True):
            side = box[2:] - box[:2]
            row = {"image_id": i + 1, "category_id": int(label), "bbox": [*box[:2], *side], "area": side.prod()}
            truth.dataset["annotations"].append(row | {"id": len(truth.dataset["annotations"]) + 1, "iscrowd": 0})
        for one in mine:
            box = [*one[:2], *(one[2:4] - one[:2])]
            results.append({"image_id": i + 1, "category_id": int(one[5]), "bbox": box, "score": one[4]})
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        reference = judge.COCOeval(truth, truth.loadRes(results), "bbox")
        reference.evaluate()
        reference.accumulate()
        reference.summarize()
    assert ours.values["mAP"] == pytest.approx(reference.stats[0], abs=1e-3)
    assert ours.values["mAP50"] == pytest.approx(reference.stats[1], abs=1e-3)
    assert 0.1 < ours.main < 0.9


def test_accuracy_and_overlap_are_those_of_torchmetrics() -> None:
    metrics = pytest.importorskip("torchmetrics.functional.classification")
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(200, 8)), rng.integers(0, 8, 200)
    ours = score_classes(logits, labels)
    pair = torch.from_numpy(logits), torch.from_numpy(labels)
    for name, top in (("top-1", 1), ("top-5", 5)):
        theirs = metrics.multiclass_accuracy(*pair, num_classes=8, top_k=top, average="micro")
        assert ours.values[name] == pytest.approx(float(theirs), abs=1e-6)
    found, known = rng.integers(0, 4, (3, 20, 20)), rng.integers(0, 4, (3, 20, 20))
    known[:, :3] = 255
    counts = MaskCounts(4, 255)
    for one, other in zip(found, known, strict=True):
        counts.add(one, other)
    masks = torch.from_numpy(found), torch.from_numpy(known)
    theirs = metrics.multiclass_jaccard_index(*masks, num_classes=4, ignore_index=255)
    assert counts.score().values["mIoU"] == pytest.approx(float(theirs), abs=1e-6)
    theirs = metrics.multiclass_accuracy(*masks, num_classes=4, ignore_index=255, average="micro")
    assert counts.score().values["pixel accuracy"] == pytest.approx(float(theirs), abs=1e-6)
