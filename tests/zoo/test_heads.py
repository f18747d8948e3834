"""Heads train, freeze, and export; the model they come from stays as it is."""

# ruff: noqa: N803 - a tensor's name ends in its shape.

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet

from export.artefact import export
from export.formats.onnx_file import metadata_props
from export.targets import target_at
from export.types import ExportReport, Preprocess
from search.nets import NETS, Backbone
from search.recalibrate import recalibrate
from search.types import Task
from zoo.catalogue.get import get
from zoo.catalogue.model import Model
from zoo.errors import BadRequest
from zoo.heads.attach import deployable, with_head
from zoo.heads.classifier import Classifier
from zoo.heads.detector import Detector
from zoo.heads.features import feature_info
from zoo.heads.segmenter import Segmenter

PX = 32
SHAPE = (2, 3, PX, PX)


@pytest.fixture(scope="module")
def backbones() -> dict[str, Backbone]:
    made = {}
    for name in ("mobile", "resnet"):
        torch.manual_seed(0)
        net = NETS[name]
        made[name] = net.build(net.smallest(PX))
        recalibrate(made[name], [torch.randn(8, 3, PX, PX)])
    return made


@pytest.fixture(params=["mobile", "resnet"])
def network(request: pytest.FixtureRequest, backbones: dict[str, Backbone]) -> Backbone:
    return backbones[request.param]


def images(seed: int = 0) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def targets() -> list[dict[str, Tensor]]:
    boxes = torch.tensor([[4.0, 4.0, 20.0, 18.0]])
    return [{"boxes": boxes, "labels": torch.tensor([1])}, {"boxes": boxes[:0], "labels": torch.tensor([]).long()}]


def loss_of(head: nn.Module, x_NCHW: Tensor) -> Tensor:
    if isinstance(head, Detector):
        return torch.stack(list(head(x_NCHW, targets()).values())).sum()
    if isinstance(head, Segmenter):
        return nn.functional.cross_entropy(head(x_NCHW)["out"], torch.arange(PX).expand(2, PX, PX) * 3 // PX)
    return nn.functional.cross_entropy(head(x_NCHW), torch.tensor([0, 2]))


@pytest.mark.parametrize(("task", "kind"), [("cls", Classifier), ("det", Detector), ("seg", Segmenter)])
def test_a_task_gets_its_head_and_the_loss_of_two_images_can_be_learned(
    network: Backbone, task: str, kind: type
) -> None:
    torch.manual_seed(0)
    head = with_head(network, 3, task=Task(task), resolution_px=PX)
    assert isinstance(head, kind) and head.training
    optimizer = torch.optim.AdamW(head.parameters(), lr=2e-3)
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = loss_of(head, images())
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.99 * losses[0]


@pytest.mark.parametrize(
    ("box", "label", "complaint"),
    [
        ([4.0, 4.0, 20.0, 18.0], 3, "label 3 is none of the 3 classes"),
        ([4.0, 4.0, 20.0, 18.0], -1, "label -1 is none of the 3 classes"),
        ([4.0, float("nan"), 20.0, 18.0], 0, "is not of finite numbers"),
        ([4.0, 4.0, 20.0, 300.0], 0, "reaches out of the picture"),
        ([-9.0, 4.0, 20.0, 18.0], 0, "reaches out of the picture"),
        ([20.0, 4.0, 4.0, 18.0], 0, "is inverted"),
        ([4.0, 4.0, 4.0, 18.0], 0, "is empty"),
    ],
)
def test_a_detector_refuses_targets_that_no_image_has(
    network: Backbone, box: list[float], label: int, complaint: str
) -> None:
    head = with_head(network, 3, task=Task.DET, resolution_px=PX)
    wrong = [{"boxes": torch.tensor([box]), "labels": torch.tensor([label])}, targets()[1]]
    with pytest.raises(BadRequest, match=complaint) as caught:
        head(images(), wrong)
    assert "\n" not in str(caught.value)


def test_a_detector_refuses_targets_of_another_shape(network: Backbone) -> None:
    head = with_head(network, 3, task=Task.DET, resolution_px=PX)
    wrong = [{"boxes": torch.zeros(2, 5), "labels": torch.zeros(1).long()}, targets()[1]]
    with pytest.raises(BadRequest, match=r"boxes are \[2, 5\] and labels \[1\]"):
        head(images(), wrong)


@pytest.mark.parametrize("task", Task)
def test_training_a_head_leaves_the_backbone_it_came_from_alone(network: Backbone, task: Task) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    head = with_head(network, 3, task=task, resolution_px=PX)
    loss_of(head, images()).backward()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(1)
    assert not network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in network.parameters())


@pytest.mark.parametrize("task", Task)
def test_a_frozen_backbone_gets_no_gradient_and_keeps_its_statistics(network: Backbone, task: Task) -> None:
    head = with_head(network, 3, task=task, resolution_px=PX, frozen=True)
    before = {name: buffer.clone() for name, buffer in head.named_buffers() if ".backbone." in name}
    loss_of(head.train(), images()).backward()
    trained = {name for name, p in head.named_parameters() if p.grad is not None}
    assert trained and not any("backbone.stem" in name or "backbone.layers" in name for name in trained)
    buffers = dict(head.named_buffers())
    assert before and all(torch.equal(buffers[name], buffer) for name, buffer in before.items())


def test_a_classifier_is_linear_in_the_embedding(network: Backbone) -> None:
    head = with_head(network, 5, task=Task.CLS, resolution_px=PX).eval()
    assert isinstance(head, Classifier)
    with torch.inference_mode():
        logits = head(images())
        torch.testing.assert_close(logits, head.linear(network(images())))
    assert logits.shape == (2, 5)


def test_a_detector_is_torchvision_s_and_finds_boxes_inside_the_image(network: Backbone) -> None:
    head = with_head(network, 3, task=Task.DET, resolution_px=PX).eval()
    assert isinstance(head, RetinaNet)
    head.score_thresh = 0.0
    with torch.inference_mode():
        found = head(images())
    assert len(found) == 2
    for one in found:
        assert one["boxes"].shape[1] == 4 and len(one["boxes"]) == len(one["labels"]) == len(one["scores"]) > 0
        assert 0 <= one["boxes"].min() and one["boxes"].max() <= PX and set(one["labels"].tolist()) <= {0, 1, 2}


def test_the_dense_outputs_of_a_detector_hold_what_it_finds(network: Backbone) -> None:
    head = with_head(network, 3, task=Task.DET, resolution_px=PX).eval()
    head.score_thresh = 0.0
    with torch.inference_mode():
        dense, found = deployable(head)(images()), head(images())
    assert set(dense) == {"boxes", "scores"} and dense["boxes"].shape[:2] == dense["scores"].shape[:2]
    assert dense["scores"].shape[2] == 3
    for i, one in enumerate(found):
        for box, score, label in zip(one["boxes"][:5], one["scores"][:5], one["labels"][:5], strict=True):
            same = (dense["boxes"][i] - box).abs().max(1).values < 1e-3
            assert (dense["scores"][i][same, label] - score).abs().min() < 1e-5


def test_anchors_cover_objects_from_a_fifth_of_a_small_image_on(network: Backbone) -> None:
    head = with_head(network, 1, task=Task.DET, resolution_px=64)
    assert isinstance(head, Detector)
    sides = [side for level in head.anchor_generator.sizes for side in level]
    assert min(sides) <= 12 and max(sides) >= 64 and sides == sorted(sides)


def test_a_segmenter_labels_every_pixel(network: Backbone) -> None:
    head = with_head(network, 7, task=Task.SEG, resolution_px=PX).eval()
    with torch.inference_mode():
        assert head(images())["out"].shape == (2, 7, PX, PX)
        assert torch.equal(deployable(head)(images())["masks"], head(images())["out"])


def test_the_feature_info_is_that_of_the_features(network: Backbone) -> None:
    info = feature_info(network, PX)
    with torch.inference_mode():
        maps = network.features(images())
    assert info.module_name() == list(maps) and info.channels() == [m.shape[1] for m in maps.values()]
    assert info.reduction() == [PX // m.shape[2] for m in maps.values()]
    assert len(info) == len(maps) and info[-1] == list(info)[-1] and not network.training


def test_a_model_makes_the_head_of_its_task_or_of_another(pristine: Path) -> None:
    model: Model = get(pristine)
    head = model.with_head(4)
    assert isinstance(head, Classifier)
    assert head(torch.randn(2, 3, 16, 16)).shape == (2, 4)
    assert isinstance(model.with_head(4, task="det", frozen=True), Detector)
    assert "with_head" in repr(model)
    with pytest.raises(BadRequest, match="num_classes is 0"):
        model.with_head(0)


SIDE_PX = 16


def export_with(
    backbone: Backbone, how: Preprocess, task: Task, path: Path, name: str, **changes: bool
) -> ExportReport:
    torch.manual_seed(1)
    module = deployable(with_head(backbone, 3, task=task, resolution_px=SIDE_PX))
    if task is Task.DET:
        with torch.no_grad():  # fresh heads see an object nowhere
            module.get_submodule("head.head.classification_head.cls_logits").bias += 4  # type: ignore[operator]
    return export(
        module,
        torch.randn(6, 3, SIDE_PX, SIDE_PX),
        target=replace(target_at(name, SIDE_PX), **changes),
        path=path,
        metadata=metadata_props(how, name="x", net="mobile", architecture="[]", classes=["a", "b", "c"]),
        predicted_ms=None,
        device="this",
        threads=1,
        time=False,
    )


@pytest.mark.parametrize("name", ["edge", "cloud"])
@pytest.mark.parametrize(
    ("task", "outputs"), [(Task.CLS, ["logits"]), (Task.DET, ["boxes", "scores"]), (Task.SEG, ["masks"])]
)
def test_a_network_with_a_head_is_exported_whole_and_compared_by_what_its_task_sees(
    backbone: Backbone, preprocess: Preprocess, tmp_path: Path, name: str, task: Task, outputs: list[str]
) -> None:
    report = export_with(backbone, preprocess, task, tmp_path / "model.onnx", name)
    assert [output.output for output in report.comparison.outputs] == outputs
    assert report.comparison.agreement is not None and report.comparison.agreement > 0.99
    session = onnxruntime.InferenceSession(report.path, providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == ["a", "b", "c"]


def test_a_detector_selects_its_boxes_inside_the_graph(
    backbone: Backbone, preprocess: Preprocess, tmp_path: Path
) -> None:
    report = export_with(backbone, preprocess, Task.DET, tmp_path / "model.onnx", "edge", nms=True)
    assert report.comparison.box_agreement is not None and report.comparison.box_agreement > 0.99
    session = onnxruntime.InferenceSession(report.path, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).standard_normal((1, 3, SIDE_PX, SIDE_PX), dtype=np.float32)
    (found,) = session.run(["detections"], {"input": image})
    assert found.shape == (1, 100, 6) and (found[0, :, 4] > 0).any()
    assert (np.diff(found[0, :, 4]) <= 0).all()
