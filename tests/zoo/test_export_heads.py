"""Export of whole networks: a backbone with a classifier, a detector or a segmenter."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from export.artefact import export
from export.formats.onnx_file import metadata_props
from export.targets import target_at
from export.types import ExportReport, Preprocess
from search.nets import Backbone
from search.types import Task
from zoo.heads.attach import deployable, with_head

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
