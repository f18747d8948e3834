"""What the task sees: classes, boxes, masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_nets import PyramidNet, seeded
from torch import nn
from torchvision.ops import batched_nms

from export import Tolerance, UnusableInput, compare_outputs, target_at
from export.graph.nms import append_nms
from export.graph.to_onnx import make_onnx
from export.verify.detections import DETECTIONS, MAX_IOU, MIN_SCORE, MOST, agreement, select

LOOSE = Tolerance(min_cosine=-1, max_relative_l2=1e9, min_agreement=0.9)


def proposals(seed: int, count: int = 60, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 24, (count, 2)), rng.uniform(2, 12, (count, 2))
    boxes = np.concatenate([corner, corner + size], axis=1)[None].astype(np.float32)
    return boxes, rng.uniform(0, 1, (1, count, classes)).astype(np.float32) ** 2


def test_top1_agreement_is_the_share_of_equal_classes():
    reference = np.eye(4, dtype=np.float32)
    candidate = reference.copy()
    candidate[0] = [0.1, 0.9, 0, 0]
    comparison = compare_outputs({"logits": reference}, {"logits": candidate}, LOOSE)
    assert comparison.top1_agreement == comparison.agreement == 0.75
    assert not comparison.passed
    assert compare_outputs({"logits": reference}, {"logits": candidate + 5}, replace(LOOSE, min_agreement=0.75)).passed


def test_mask_agreement_is_the_share_of_equal_pixels():
    reference = np.random.default_rng(0).standard_normal((2, 5, 4, 4))
    candidate = reference.copy()
    candidate[0, :, 0, 0] = -candidate[0, :, 0, 0]
    comparison = compare_outputs({"masks": reference}, {"masks": candidate}, LOOSE)
    assert comparison.mask_agreement == 31 / 32 and comparison.passed


def test_a_missing_task_output_agrees_with_nothing():
    reference = {"logits": np.eye(3), "boxes": proposals(0)[0], "scores": proposals(0)[1]}
    comparison = compare_outputs(reference, {}, LOOSE)
    assert (comparison.top1_agreement, comparison.box_agreement, comparison.passed) == (0, 0, False)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_detections_agree_with_themselves_and_no_two_of_a_class_overlap(seed):
    (found,) = select(*proposals(seed))
    assert agreement(found[None], found[None]) == 1.0
    kept = found[found[:, 4] > 0]
    assert (kept[:, 4] > MIN_SCORE).all() and (np.diff(kept[:, 4]) <= 0).all()
    for label in np.unique(kept[:, 5]):
        boxes = torch.from_numpy(kept[kept[:, 5] == label, :4])
        again = batched_nms(boxes, torch.arange(len(boxes), 0, -1).float(), torch.zeros(len(boxes)), MAX_IOU)
        assert len(again) == len(boxes)


def test_detections_of_another_class_or_place_are_disagreements():
    one = np.zeros((1, MOST, 6), np.float32)
    one[0, 0] = [0, 0, 10, 10, 0.9, 1]
    other_class, moved, doubled = one.copy(), one.copy(), one.copy()
    other_class[0, 0, 5] = 2
    moved[0, 0, :4] += 6
    doubled[0, 1] = [20, 20, 30, 30, 0.8, 1]
    assert agreement(one, other_class) == 0
    assert agreement(one, moved) == 0
    assert agreement(one, doubled) == pytest.approx(2 / 3)


def test_nothing_detected_is_not_agreement():
    nothing = np.zeros((1, MOST, 6), np.float32)
    assert agreement(nothing, nothing) is None
    outputs = {"boxes": np.ones((1, 4, 4), np.float32), "scores": np.full((1, 4, 2), 1e-3, np.float32)}
    comparison = compare_outputs(outputs, outputs, LOOSE)
    assert comparison.box_agreement is None and comparison.agreement is None and comparison.passed


def test_boxes_that_the_graph_selects_are_compared(seed=0):
    boxes, scores = proposals(seed)
    outputs = {"boxes": boxes, "scores": scores}
    right = {**outputs, DETECTIONS: select(boxes, scores)}
    wrong = {**outputs, DETECTIONS: np.roll(right[DETECTIONS], 1, axis=2)}
    loose = replace(LOOSE, min_agreement=0.0)
    assert compare_outputs(outputs, right, loose).passed
    assert not compare_outputs(outputs, wrong, loose).passed


class Detector(nn.Module):
    """Dense boxes and scores from a map, in the way of an anchor-free head."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = PyramidNet(), nn.Conv2d(20, 7, 1)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        found = self.head(self.backbone(images)["p3"]).flatten(2).transpose(1, 2)
        side = torch.arange(8.0) * 4
        place = torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1).reshape(1, -1, 2)
        size = 2 + found[..., :2].abs() * 3
        return {"boxes": torch.cat([place - size, place + size], dim=-1), "scores": found[..., 4:].sigmoid()}


@pytest.mark.parametrize("nms", [False, True])
def test_a_detector_is_compared_by_its_boxes_with_nms_inside_and_outside_the_graph(nms, go, path):
    target = replace(target_at("edge", 32), nms=nms)
    report = go(seeded(Detector()), target=target)
    assert report.comparison.box_agreement == 1.0
    assert [output.output for output in report.comparison.outputs] == ["boxes", "scores"]
    names = [output.name for output in onnxruntime.InferenceSession(path).get_outputs()]
    assert names == ["boxes", "scores", *([DETECTIONS] if nms else [])]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_nms_inside_the_graph_selects_what_torchvision_selects(seed):
    model = pass_through()
    session = onnxruntime.InferenceSession(append_nms(model).SerializeToString(), providers=["CPUExecutionProvider"])
    boxes, scores = proposals(seed)
    (found,) = session.run([DETECTIONS], {"boxes_in": boxes, "scores_in": scores})
    expected = select(boxes, scores)
    assert found.shape == (1, MOST, 6)
    np.testing.assert_allclose(found[..., 4], expected[..., 4], rtol=1e-6)
    assert agreement(expected, found) == 1.0


def pass_through():
    from onnx import TensorProto, helper

    sizes = {"boxes": 4, "scores": 3}
    nodes = [helper.make_node("Identity", [f"{name}_in"], [name]) for name in sizes]
    inputs = [helper.make_tensor_value_info(f"{n}_in", TensorProto.FLOAT, [1, 60, c]) for n, c in sizes.items()]
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 60, c]) for n, c in sizes.items()]
    graph = helper.make_graph(nodes, "pass", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def test_a_graph_without_boxes_has_nothing_to_select(metadata):
    model = make_onnx(seeded(PyramidNet()), target_at("edge", 32), metadata)
    with pytest.raises(UnusableInput, match=r"\['p2', 'p3'\]"):
        append_nms(model)
