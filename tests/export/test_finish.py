from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from small_nets import ConvNet, PyramidNet, seeded

import export.graph.finish
from export import ComparisonFailed, Preprocess, UnusableInput, target_at
from export.graph.finish import to_fp16
from export.graph.pixels import take_pixels, to_pixels
from export.graph.to_onnx import make_onnx
from export.targets import with_precision


@pytest.mark.parametrize("net", [ConvNet, PyramidNet])
@pytest.mark.parametrize("name", ["edge", "cloud"])
def test_half_precision_inside_and_float_outside(net, name, go, path):
    report = go(seeded(net()), target=with_precision(target_at(name, 32), "fp16"))
    assert report.comparison.passed and report.comparison.outputs[0].min_cosine > 0.9999
    model = onnx.load(path)
    floats = {weight.data_type for weight in model.graph.initializer if len(weight.dims) == 4}
    assert floats == {onnx.TensorProto.FLOAT16}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert {value.type for value in (*session.get_inputs(), *session.get_outputs())} == {"tensor(float)"}


def test_half_precision_weighs_half(metadata):
    model = make_onnx(seeded(ConvNet()), target_at("edge", 32), metadata)
    before = model.SerializeToString()
    weights = [sum(len(w.raw_data) for w in m.graph.initializer if len(w.dims) == 4) for m in (to_fp16(model), model)]
    assert weights[0] * 2 == weights[1]
    assert model.SerializeToString() == before


def test_values_beyond_half_precision_are_caught_and_the_fix_is_fp32(go, path):
    net = seeded(ConvNet())
    with torch.no_grad():
        net.stem.weight *= 1e6
        net.stem_norm.running_var *= 1e-4
    with pytest.raises(ComparisonFailed, match="export fp32"):
        go(net, target=with_precision(target_at("edge", 32), "fp16"))
    assert [file.name for file in path.parent.iterdir()] == ["model.failed.onnx"]


def test_the_output_is_not_bit_for_bit_fp32_so_something_was_rounded(images, metadata):
    model = make_onnx(seeded(ConvNet()), target_at("cloud", 32), metadata)
    outputs = []
    for graph in (model, to_fp16(model)):
        session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        outputs.append(session.run(None, {"input": images.numpy()})[0])
    assert not np.array_equal(*outputs)


PIXELS = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)


def normalized(preprocess: Preprocess, pixels: np.ndarray = PIXELS) -> torch.Tensor:
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (preprocess.mean, preprocess.std))
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2) * preprocess.scale - mean) / std


def test_the_pixels_of_images_come_back_exactly(preprocess):
    np.testing.assert_array_equal(to_pixels(normalized(preprocess).numpy(), preprocess), PIXELS)


def test_images_that_no_pixels_give_are_refused(preprocess):
    with pytest.raises(UnusableInput, match="gray levels"):
        to_pixels(normalized(preprocess).numpy() + 0.005, preprocess)


@pytest.mark.parametrize("name", ["edge", "cloud"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_graph_that_takes_pixels_computes_what_torch_computes_on_normalized_images(
    name, precision, preprocess, go, path
):
    net, x = seeded(ConvNet()), normalized(preprocess)
    target = replace(with_precision(target_at(name, 32), precision), uint8_input=True)
    report = go(net, images=x, target=target)
    assert report.comparison.passed and report.target.uint8_input
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    assert (image.name, image.type, image.shape[1:]) == ("input", "tensor(uint8)", [32, 32, 3])
    (embedding,) = session.run(["embedding"], {"input": PIXELS[:1]})
    np.testing.assert_allclose(embedding, net(x[:1]).detach(), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda how: replace(how, mean=how.mean[::-1]),
        lambda how: replace(how, std=(0.25, 0.25, 0.25)),
        lambda how: replace(how, mean=tuple(value + 1 / 255 for value in how.mean)),
    ],
)
def test_a_wrong_mean_or_std_inside_the_graph_is_caught(wrong, preprocess, go, path, monkeypatch):
    monkeypatch.setattr(export.graph.finish, "take_pixels", lambda model, how: take_pixels(model, wrong(how)))
    target = replace(target_at("edge", 32), uint8_input=True)
    with pytest.raises(ComparisonFailed):
        go(seeded(ConvNet()), images=normalized(preprocess), target=target)
    assert [file.name for file in path.parent.iterdir()] == ["model.failed.onnx"]


def test_the_graph_without_pixels_stays_as_it_was(preprocess, metadata):
    model = make_onnx(seeded(ConvNet()), target_at("edge", 32), metadata)
    before = model.SerializeToString()
    take_pixels(model, preprocess)
    assert model.SerializeToString() == before
