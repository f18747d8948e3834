from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper
from small_nets import ConvNet, PyramidNet, seeded
from torch import Tensor

import export.artefact
import export.staging
from export import (
    ComparisonFailed,
    ExportReport,
    InvalidGraph,
    UnusableInput,
    WriteFailed,
    read_document,
    target_at,
    to_document,
)
from tests.conftest import refused

Breaker = Callable[[onnx.ModelProto], None]


def first(model: onnx.ModelProto, op_type: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == op_type)


def drop_a_relu(model: onnx.ModelProto) -> None:
    first(model, "Relu").op_type = "Identity"


def change_weight(model: onnx.ModelProto, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    weight = next(weight for weight in model.graph.initializer if weight.name == name)
    weight.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(change(numpy_helper.to_array(weight).copy())), name))


def swap_red_and_blue(model: onnx.ModelProto) -> None:
    change_weight(model, first(model, "Conv").input[1], lambda weight: weight[:, ::-1])


def nan_in_a_weight(model: onnx.ModelProto) -> None:
    def poison(weight: np.ndarray) -> np.ndarray:
        weight.flat[0] = np.nan
        return weight

    change_weight(model, first(model, "Conv").input[1], poison)


def before_the_stem(model: onnx.ModelProto, op_type: str, *values: np.ndarray) -> None:
    names = [f"added_{i}" for i in range(len(values))]
    model.graph.initializer.extend(numpy_helper.from_array(v, n) for v, n in zip(values, names, strict=True))
    first(model, "Conv").input[0] = "changed_input"
    model.graph.node.insert(0, helper.make_node(op_type, ["input", *names], ["changed_input"]))


def subtract_a_mean_again(model: onnx.ModelProto) -> None:
    before_the_stem(model, "Sub", np.array([0.01, -0.01, 0.02], np.float32).reshape(1, 3, 1, 1))


def after_the_output(model: onnx.ModelProto, op_type: str, *values: np.ndarray, **attributes) -> None:
    names = [f"added_{i}" for i in range(len(values))]
    model.graph.initializer.extend(numpy_helper.from_array(v, n) for v, n in zip(values, names, strict=True))
    output = model.graph.output[0].name
    maker = next(node for node in model.graph.node if output in node.output)
    maker.output[0] = "unchanged"
    model.graph.node.append(helper.make_node(op_type, ["unchanged", *names], [output], **attributes))


def permute_the_output(model: onnx.ModelProto) -> None:
    after_the_output(model, "Gather", np.roll(np.arange(20), 1), axis=1)


def swap_two_outputs(model: onnx.ModelProto) -> None:
    after_the_output(model, "Gather", np.array([1, 0, *range(2, 20)]), axis=1)


def round_to_half_precision(model: onnx.ModelProto) -> None:
    change_weight(model, first(model, "Conv").input[1], lambda weight: weight.astype(np.float16).astype(np.float32))


def transpose_the_map(model: onnx.ModelProto) -> None:
    after_the_output(model, "Transpose", perm=[0, 1, 3, 2])


def break_what_is_made(monkeypatch: pytest.MonkeyPatch, breaker: Breaker) -> None:
    make = export.artefact.make_onnx

    def make_broken(*args, **kwargs) -> onnx.ModelProto:
        model = make(*args, **kwargs)
        breaker(model)
        return model

    monkeypatch.setattr(export.artefact, "make_onnx", make_broken)


@pytest.mark.parametrize("net", [ConvNet, PyramidNet])
@pytest.mark.parametrize("name", ["point", "edge", "cloud"])
def test_a_faithful_artefact_passes_on_every_target(net, name, go, path):
    report = go(seeded(net()), name=name)
    assert report.comparison.passed
    assert report.comparison.images == 11
    assert report.comparison.neighbour_agreement == (1.0 if net is ConvNet else None)
    for output in report.comparison.outputs:
        assert output.min_cosine > 0.999999
        assert output.relative_l2 < 1e-5
        assert output.psnr_db > 100
        assert output.needed_atol < 1e-4
    assert list(path.parent.iterdir()) == [path]


def test_the_report_describes_the_file_that_lies_there(go, path):
    report = go(seeded(ConvNet()))
    assert report.path == path
    assert report.bytes == path.stat().st_size
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (report.predicted_ms, report.device, report.threads, report.measured) == (0.5, "this", 1, None)
    assert report.versions["onnxruntime"] == onnxruntime.__version__


def test_the_measured_time_stands_beside_the_predicted_one(go):
    for name in ("edge", "cloud"):
        report = go(seeded(ConvNet()), name=name, time=True, predicted_ms=None)
        assert report.measured is not None
        assert report.measured.samples > 1
        assert 0 < report.measured.median_ms <= report.measured.p90_ms
        assert report.predicted_ms is None


@pytest.mark.parametrize("name", ["edge", "cloud"])
@pytest.mark.parametrize(
    "breaker",
    [
        drop_a_relu,
        swap_red_and_blue,
        subtract_a_mean_again,
        permute_the_output,
        swap_two_outputs,
        round_to_half_precision,
        nan_in_a_weight,
    ],
)
def test_a_wrong_graph_is_kept_aside_and_nothing_reaches_the_destination(breaker, name, go, path, monkeypatch):
    break_what_is_made(monkeypatch, breaker)
    failed = path.with_name("model.failed.onnx")
    with pytest.raises(ComparisonFailed) as caught:
        go(seeded(ConvNet()), name=name, time=True)
    assert list(path.parent.iterdir()) == [failed]
    report = caught.value.report
    assert not report.comparison.passed
    assert report.measured is None
    assert report.path == failed
    assert report.sha256 == hashlib.sha256(failed.read_bytes()).hexdigest()
    assert str(failed) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert read_document(ExportReport, json.loads(json.dumps(to_document(report), allow_nan=False))) == report


def test_a_transposed_map_of_the_right_shape_fails(go, monkeypatch):
    break_what_is_made(monkeypatch, transpose_the_map)
    with pytest.raises(ComparisonFailed, match="'p2'"):
        go(seeded(PyramidNet()))


def test_a_net_with_nan_weights_fails_although_both_sides_agree(go, path):
    net = seeded(ConvNet())
    with torch.no_grad():
        net.head.weight[3] = math.nan
    with pytest.raises(ComparisonFailed, match="not finite"):
        go(net)
    assert [file.name for file in path.parent.iterdir()] == ["model.failed.onnx"]


class FrozenBatch(ConvNet):
    """Tracing turns its ``int`` into a constant: right for one image, wrong for two."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).reshape(int(images.shape[0]), -1)


@pytest.mark.parametrize("count", [3, 11])
def test_a_batch_size_frozen_into_a_dynamic_graph_fails(count, go, images):
    assert go(seeded(FrozenBatch()), name="edge").comparison.passed
    with pytest.raises(ComparisonFailed):
        go(seeded(FrozenBatch()), name="cloud", images=images[:count])


def test_too_few_images_to_test_a_dynamic_batch_are_refused(go, images):
    assert go(seeded(ConvNet()), name="edge", images=images[:1]).comparison.passed
    with pytest.raises(UnusableInput, match="at least 3"):
        go(seeded(ConvNet()), name="cloud", images=images[:2])


def test_a_graph_that_the_runtime_refuses_leaves_nothing(go, path, monkeypatch):
    def unknown_operator(model: onnx.ModelProto) -> None:
        first(model, "Relu").op_type = "NoSuchOperator"

    break_what_is_made(monkeypatch, unknown_operator)
    with refused(InvalidGraph, match="NoSuchOperator"):
        go(seeded(ConvNet()))
    assert not list(path.parent.iterdir())


def test_a_failed_export_does_not_touch_the_good_one_of_before(go, path, monkeypatch):
    before = go(seeded(ConvNet()))
    with monkeypatch.context() as patch:
        break_what_is_made(patch, drop_a_relu)
        with pytest.raises(ComparisonFailed):
            go(seeded(ConvNet(), seed=5))
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before.sha256


def test_a_passing_export_removes_the_failed_one_of_before(go, path, monkeypatch):
    with monkeypatch.context() as patch:
        break_what_is_made(patch, drop_a_relu)
        with pytest.raises(ComparisonFailed):
            go(seeded(ConvNet()))
    go(seeded(ConvNet()))
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_nothing_behind(go, path, monkeypatch):
    def half_of_it(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export.staging.os, "fsync", half_of_it)
    with refused(WriteFailed, match=r"could not write \d+ bytes .* No space left"):
        go(seeded(ConvNet()))
    assert not list(path.parent.iterdir())


def test_an_interruption_leaves_nothing_behind(go, path, monkeypatch):
    def interrupted(*args) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export.artefact, "compare_outputs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        go(seeded(ConvNet()))
    assert not list(path.parent.iterdir())


def test_a_destination_that_is_a_folder_is_refused_and_left_alone(go, path):
    path.mkdir()
    with pytest.raises(WriteFailed, match=r"model\.onnx"):
        go(seeded(ConvNet()))
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_is_a_file_is_refused_and_left_alone(go, path):
    path.write_text("mine")
    with pytest.raises(WriteFailed, match="could not write"):
        go(seeded(ConvNet()), path=path / "model.onnx")
    assert path.read_text() == "mine"


def test_the_folder_of_the_destination_is_made(go, path):
    report = go(seeded(ConvNet()), path=path.parent / "onnx" / "model.onnx")
    assert report.path.is_file()


def test_the_module_stays_as_it_was(go, images):
    net = seeded(ConvNet()).to(memory_format=torch.channels_last)
    before = net(images)
    go(net)
    assert torch.equal(net(images), before)
    assert net.stem.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_static_batch_above_one_is_filled_up(go):
    report = go(seeded(ConvNet()), target=replace(target_at("edge", 32), input_nchw=(4, 3, 32, 32)))
    assert report.comparison.passed
    assert report.comparison.images == 11


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images: images[:0], r"\[0, 3, 32, 32\]"),
        (lambda images: images[0], r"\[3, 32, 32\]"),
        (lambda images: images[:, :1], r"needs \[N, 3, 32, 32\]"),
        (lambda images: (images * 50).to(torch.uint8), "preprocess"),
        (lambda images: images.double(), "float32"),
        (lambda images: images / 0, "NaN or infinity"),
    ],
)
def test_images_that_do_not_fit_are_refused_before_anything_is_made(change, message, go, images, path):
    with pytest.raises(UnusableInput, match=message):
        go(seeded(ConvNet()), images=change(images))
    assert not list(path.parent.iterdir())


def test_a_runtime_without_threads_is_refused(go):
    with pytest.raises(UnusableInput, match="threads is 0"):
        go(seeded(ConvNet()), threads=0)


def test_an_output_without_a_row_for_each_image_is_refused(go, path):
    class Total(ConvNet):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images).sum()

    with pytest.raises(UnusableInput, match=r"'embedding' has shape \[\]"):
        go(seeded(Total()))
    assert not list(path.parent.iterdir())


def test_the_file_runs_from_uint8_pixels_with_nothing_but_onnxruntime_and_its_metadata(go, path, preprocess):
    pixels = np.random.default_rng(0).integers(0, 256, (11, 32, 32, 3), dtype=np.uint8)
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (preprocess.mean, preprocess.std))
    images = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std
    net = seeded(ConvNet())
    go(net, name="cloud", images=images)

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    how = json.loads(session.get_modelmeta().custom_metadata_map["preprocess"])
    assert (how["color"], how["layout"], how["size_px"]) == ("RGB", "NCHW", [32, 32])
    scaled = pixels * np.float32(how["scale"])
    fed = (scaled - np.float32(how["mean"])) / np.float32(how["std"])
    (embedding,) = session.run(["embedding"], {"input": fed.transpose(0, 3, 1, 2)})
    np.testing.assert_allclose(embedding, net(images).detach(), rtol=1e-4, atol=1e-5)
