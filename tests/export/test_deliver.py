from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch
from small_nets import ConvNet, PyramidNet, seeded, structured_images

import export.delivery
import export.tensorrt.try_engine
from export import Delivered, UnsupportedTarget, UnusableInput, deliver, read_document, target_at, to_document
from export.delivery import fastest, line_of
from export.errors import MissingBackend
from export.page import render_page
from export.targets import DELIVERIES, Delivery
from export.tensorrt.runner import EngineRunner
from hardware_profiles import Latency

CALIBRATION = structured_images(40, seed=9)


@pytest.fixture
def go(images, metadata, tmp_path: Path):
    """Deliver with everything that a test does not say itself."""

    def call(name: str = "edge", module=None, delivery: Delivery | None = None, **changes) -> Delivered:
        arguments = {
            "target": target_at(name, 32),
            "delivery": delivery or replace(DELIVERIES[name], engine=False),
            "out": tmp_path / "out",
            "name": "small-cls-1ms",
            "metadata": metadata,
            "device": "this",
            "threads": 1,
            "calibration_NCHW": CALIBRATION,
            "predicted_ms": 0.5,
            "time": False,
            "min_agreement": 0.5,
        }
        shown = changes.pop("images_NCHW", images)
        return deliver(module or seeded(ConvNet()), shown, **{**arguments, **changes})

    return call


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_each_kind_of_device_gets_what_the_table_says(go, tmp_path):
    expected = {
        "point": ["model.onnx", "model.ort", "model_int8.onnx", "model_int8.ort"],
        "edge": ["model.onnx", "model_fp16.onnx", "model_int8.onnx"],
        "cloud": [
            "model.onnx",
            "model_fp16.onnx",
            "triton/small-cls-1ms/1/model.onnx",
            "triton/small-cls-1ms/config.pbtxt",
        ],
    }
    for name, files in expected.items():
        delivered = go(name, out=tmp_path / name)
        assert names(tmp_path / name) == files
        assert not delivered.refused and all(report.comparison.passed for report in delivered.reports)
        assert delivered.reports[0].target.precision == "fp32"
        assert [report.predicted_ms for report in delivered.reports] == [0.5, *[None] * (len(delivered.reports) - 1)]


def test_every_artefact_of_maps_for_dense_tasks_is_right(go):
    delivered = go("edge", module=seeded(PyramidNet()))
    assert [report.target.precision for report in delivered.reports] == ["fp32", "int8", "fp16"]
    for report in delivered.reports:
        assert [output.output for output in report.comparison.outputs] == ["p2", "p3"]


def test_a_wrong_artefact_is_set_aside_and_the_others_are_delivered(go, tmp_path, monkeypatch):
    to_fp16 = export.graph.finish.to_fp16

    def broken(model):
        result = to_fp16(model)
        next(node for node in result.graph.node if node.op_type == "Relu").op_type = "Neg"
        return result

    monkeypatch.setattr(export.graph.finish, "to_fp16", broken)
    said: list[str] = []
    delivered = go("edge", say=said.append)
    assert [report.target.precision for report in delivered.reports] == ["fp32", "int8"]
    assert [report.path.name for report in delivered.failed] == ["model_fp16.failed.onnx"]
    (sentence,) = delivered.refused
    assert "\n" not in sentence and sentence in said
    assert names(tmp_path / "out") == ["model.onnx", "model_fp16.failed.onnx", "model_int8.onnx"]


def test_the_fastest_that_passed_is_recommended(go):
    delivered = go("edge")
    assert delivered.recommended is None

    def timed(report, ms):
        return replace(report, measured=Latency(median_ms=ms, p90_ms=ms, samples=3))

    reports = tuple(timed(r, ms) for r, ms in zip(delivered.reports, (2.0, 1.0, 3.0), strict=True))
    assert fastest(reports) is reports[1]
    assert "Take `model_int8.onnx`" in render_page(replace(delivered, reports=reports), title="x")


def test_an_artefact_that_is_slower_than_fp32_says_so(go, monkeypatch):
    times = iter([1.0, 2.0, 8.0])

    def scripted(subjects, **_):
        ms = next(times)
        return [Latency(median_ms=ms, p90_ms=ms, samples=3)]

    monkeypatch.setattr("export.artefact.time_runners", scripted)
    delivered = go("edge", time=True)
    assert delivered.recommended is delivered.reports[0]
    assert "2.00 times as long as fp32" in line_of(delivered.reports[1])
    assert "8.00 times as long as fp32" in line_of(delivered.reports[2])


def test_a_memory_limit_that_is_missed_is_said(go):
    delivered = go("point", delivery=Delivery(precisions=("fp32",), memory_limit_bytes=1000))
    (note,) = delivered.reports[0].notes
    assert note.startswith("needs 0.")
    assert delivered.reports[0].peak_memory_bytes > 1000


def test_images_of_another_kind_are_warned_of_with_the_measured_drift(go):
    delivered = go("edge", delivery=Delivery(precisions=("fp32",)), calibration_NCHW=CALIBRATION * 0.05 + 4)
    assert delivered.drift is not None
    assert any(f"{delivered.drift:.2f} standard deviations" in note for note in delivered.notes)
    more = {"calibration_NCHW": CALIBRATION * 0.05 + 4, "most_drift": delivered.drift + 0.1}
    assert not go("edge", delivery=Delivery(precisions=("fp32",)), **more).notes


def test_a_delivery_survives_json_and_its_page_has_a_row_for_each_artefact(go):
    delivered = go("edge")
    document = json.loads(json.dumps(to_document(delivered), allow_nan=False))
    assert read_document(Delivered, document) == delivered
    page = render_page(delivered, title="A title")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) == len(delivered.reports) and page.startswith("# A title\n")
    assert len({line.count("|") for line in page.splitlines() if line.startswith("|")}) == 1


def test_without_tensorrt_the_rest_is_delivered_and_the_extra_is_named(go, monkeypatch):
    def missing(*args, **kwargs):
        raise MissingBackend("no TensorRT is installed; pip install 'subnet-zoo[tensorrt-rtx]'")

    monkeypatch.setattr(export.tensorrt.try_engine, "build_engine", missing)
    delivered = go("cloud", delivery=DELIVERIES["cloud"])
    assert any("subnet-zoo[tensorrt-rtx]" in note for note in delivered.notes)
    assert not delivered.refused and len(delivered.reports) == 2


@pytest.mark.tensorrt
def test_the_cloud_gets_an_engine_and_its_sidecar(go, tmp_path):
    delivered = go("cloud", delivery=DELIVERIES["cloud"])
    engine = next((path for path in delivered.others if path.suffix == ".engine"), None)
    assert engine is not None and engine.stat().st_size > 0, delivered.notes
    assert engine.with_name("model.engine.json") in delivered.others


def test_an_option_that_cannot_be_made_is_refused_before_anything_is_written(go, tmp_path):
    with pytest.raises(UnsupportedTarget, match="opset 20"):
        go(target=replace(target_at("edge", 32), opset=20))
    assert not (tmp_path / "out").exists()


def test_an_ort_file_runs_and_is_compared(go, tmp_path, images):
    delivered = go("point")
    report = next(report for report in delivered.reports if report.target.format == "ort")
    assert report.path.suffix == ".ort" and report.comparison.passed
    session = onnxruntime.InferenceSession(str(report.path), providers=["CPUExecutionProvider"])
    (embedding,) = session.run(["embedding"], {"input": images[:1].numpy()})
    torch.testing.assert_close(torch.from_numpy(embedding), seeded(ConvNet())(images[:1]), rtol=1e-3, atol=1e-3)


def test_images_that_do_not_fit_are_refused_before_anything_is_run(go, tmp_path, images):
    with pytest.raises(UnusableInput, match="the target needs"):
        go(images_NCHW=images[:, :, :16])
    assert not (tmp_path / "out").exists()


@pytest.fixture
def cloud(double, monkeypatch, go):
    """What the cloud gets on a machine with a GPU; its engine takes no time."""
    timed = Latency(median_ms=1e-6, p90_ms=1e-6, samples=10)
    monkeypatch.setattr(EngineRunner, "time", lambda runner, inputs: timed)
    return lambda: go("cloud", delivery=DELIVERIES["cloud"], time=True, min_agreement=None)


def test_an_engine_is_compared_with_torch_and_timed_on_its_gpu(cloud):
    delivered = cloud()
    (report,) = delivered.engines
    assert (report.target.format, report.device, report.measured.median_ms) == ("engine", "nvidia-l4", 1e-6)
    assert report.comparison.passed and report.comparison.images == 11
    assert report.sha256 == hashlib.sha256(report.path.read_bytes()).hexdigest()
    assert {path.name for path in delivered.others} >= {"model.engine", "model.engine.json"}
    assert not delivered.failed and not delivered.refused
    assert "`model.engine` was timed on nvidia-l4" in render_page(delivered, title="x")
    assert read_document(Delivered, to_document(delivered)) == delivered


def test_a_gpu_s_milliseconds_are_never_compared_with_the_host_s(cloud):
    assert cloud().recommended.target.format == "onnx"


def test_a_wrong_engine_is_set_aside_and_the_rest_is_delivered(cloud, monkeypatch, tmp_path):
    right = EngineRunner.run
    swapped = lambda runner, inputs: {name: np.flip(x, axis=1) for name, x in right(runner, inputs).items()}  # noqa: E731
    monkeypatch.setattr(EngineRunner, "run", swapped)
    delivered = cloud()
    assert [report.path.name for report in delivered.failed] == ["model.failed.engine"]
    assert delivered.failed[0].path.is_file() and delivered.failed[0].measured is None
    assert len(delivered.reports) == 2 and not delivered.engines
    assert any("model.failed.engine" in sentence for sentence in delivered.refused)
    assert sorted(path.name for path in (tmp_path / "out").glob("*engine*")) == ["model.failed.engine"]


def test_an_engine_that_cannot_run_is_refused_in_one_line(cloud, monkeypatch, tmp_path):
    def broken(runner: EngineRunner, inputs: object) -> None:
        raise RuntimeError("no kernel image\nis available")

    monkeypatch.setattr(EngineRunner, "run", broken)
    delivered = cloud()
    assert any("NVIDIA L4: no kernel image is available" in sentence for sentence in delivered.refused)
    assert not list((tmp_path / "out").glob("*engine*")) and len(delivered.reports) == 2


def test_on_another_gpu_an_engine_is_delivered_unrun_and_says_so(cloud, monkeypatch):
    other = SimpleNamespace(name="NVIDIA T4", compute_capability="sm75", driver="580.95.05")
    monkeypatch.setattr(export.tensorrt.try_engine, "find_gpu", lambda: other)
    delivered = cloud()
    assert not delivered.engines and any("did not run here" in note for note in delivered.notes)
    assert {path.name for path in delivered.others} >= {"model.engine", "model.engine.json"}
