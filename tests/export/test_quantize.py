from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from small_nets import ConvNet, PyramidNet, seeded, structured_images
from torch import nn

import export.graph.int8
from export import ComparisonFailed, Tolerance, UnusableInput, target_at
from export.graph.int8 import quantizable, quantize
from export.graph.to_onnx import make_onnx
from export.targets import with_precision
from export.verify.outputs import torch_outputs
from tests.conftest import refused

EDGE, CLOUD = (with_precision(target_at(name, 32), "int8") for name in ("edge", "cloud"))
CALIBRATION = structured_images(48, seed=7)


def quantized(net: nn.Module, metadata, target=EDGE):
    model = make_onnx(net, target, metadata)
    return model, *quantize(model, CALIBRATION.numpy(), torch_outputs(net, CALIBRATION), target)


def with_agreement(share: float, target=EDGE):
    return replace(target, tolerance=replace(target.tolerance, min_agreement=share))


def int8_weights(model: onnx.ModelProto) -> list[np.ndarray]:
    integers = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    return [numpy_helper.to_array(w) for w in model.graph.initializer if w.data_type in integers and len(w.dims) > 1]


@pytest.mark.parametrize("target", [EDGE, CLOUD])
def test_a_small_net_is_int8_throughout_and_still_itself(target, metadata):
    _, model, how = quantized(seeded(ConvNet()), metadata, with_agreement(0, target))
    assert (how.int8_layers, how.layers, how.int8_weights, how.images) == (4, 4, 1.0, 48)
    assert {node.op_type for node in model.graph.node} >= {"QuantizeLinear", "DequantizeLinear"}
    assert len(int8_weights(model)) == 4


def test_weights_are_symmetric_per_channel_and_leave_a_bit_for_processors_that_saturate(metadata):
    _, model, _ = quantized(seeded(ConvNet()), metadata, with_agreement(0))
    constants = {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}
    layers = [node for node in model.graph.node if node.op_type == "DequantizeLinear"]
    weights = [node for node in layers if constants.get(node.input[0], np.empty(0)).ndim == 4]
    assert len(weights) == 4
    for node in weights:
        value, scale, zero = (constants[name] for name in node.input)
        assert scale.shape == (len(value),) and not zero.any()
        assert np.abs(value.astype(int)).max() <= 64


def test_metadata_names_and_version_survive(metadata):
    model, int8, _ = quantized(seeded(ConvNet()), metadata)
    assert {p.key: p.value for p in int8.metadata_props} == {p.key: p.value for p in model.metadata_props}
    assert int8.ir_version == model.ir_version and int8.opset_import[0].version == model.opset_import[0].version
    assert [o.name for o in int8.graph.output] == ["embedding"] and int8.graph.input[0].name == "input"


def test_where_the_whole_is_too_noisy_the_noisiest_layers_stay_float(metadata):
    net = seeded(ConvNet())
    whole = quantized(net, metadata, with_agreement(0))
    errors = []
    for max_relative_l2 in (0.2, 0.02):
        target = replace(EDGE, tolerance=Tolerance(min_cosine=0.9, max_relative_l2=max_relative_l2))
        _, int8, how = quantized(net, metadata, target)
        assert how.int8_layers == len(int8_weights(int8)) and how.layers == 4
        sizes = [np.prod(w.shape) for w in int8_weights(int8)]
        assert how.int8_weights == pytest.approx(sum(sizes) / sum(w.size for w in int8_weights(whole[1])))
        errors.append((how.int8_layers, how.int8_weights))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] == (4, 1.0) and 0 < errors[-1][0] < 4, errors


def test_where_nothing_passes_the_whole_network_is_int8_and_the_comparison_will_say_no(metadata):
    target = replace(EDGE, tolerance=Tolerance(min_cosine=1.1, max_relative_l2=0))
    _, _, how = quantized(seeded(ConvNet()), metadata, target)
    assert how.int8_layers == how.layers


def test_quantizing_twice_gives_the_same_bytes_and_leaves_the_graph_alone(metadata):
    net = seeded(ConvNet())
    model = make_onnx(net, EDGE, metadata)
    before, reference = model.SerializeToString(), torch_outputs(net, CALIBRATION)
    first, second = (quantize(model, CALIBRATION.numpy(), reference, EDGE)[0] for _ in range(2))
    assert first.SerializeToString() == second.SerializeToString()
    assert model.SerializeToString() == before


def test_nothing_is_printed(metadata, capfd):
    quantized(seeded(ConvNet()), metadata)
    captured = capfd.readouterr()
    assert captured.out == "" and captured.err == ""


def test_the_head_of_a_detector_stays_float(metadata):
    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = PyramidNet(), nn.Conv2d(20, 7, 1)

        def forward(self, images):
            found = self.head(self.backbone(images)["p3"]).flatten(2).transpose(1, 2)
            return {"boxes": found[..., :4], "scores": found[..., 4:].sigmoid()}

    model = make_onnx(seeded(Detector()), EDGE, metadata)
    names = quantizable(model)
    assert len(names) == 4 and all("/backbone/" in name for name in names)


@pytest.mark.parametrize(("count", "message"), [(0, "0 images"), (7, "at least 8")])
def test_too_few_images_are_refused(count, message, metadata):
    net = seeded(ConvNet())
    images = CALIBRATION[:count]
    with pytest.raises(UnusableInput, match=message):
        quantize(make_onnx(net, EDGE, metadata), images.numpy(), {}, EDGE)


def test_int8_without_images_says_where_to_give_them(go):
    with pytest.raises(UnusableInput, match="--calibration"):
        go(seeded(ConvNet()), target=EDGE)


def test_the_report_says_how_much_is_int8(go, path):
    report = go(seeded(ConvNet()), target=with_agreement(0), calibration_NCHW=CALIBRATION)
    assert report.comparison.passed and report.quantization is not None
    assert report.quantization.int8_weights == 1.0
    assert report.bytes == path.stat().st_size


def test_an_int8_artefact_that_misses_the_agreement_is_kept_aside(go, path, monkeypatch):
    net = seeded(ConvNet())
    monkeypatch.setattr(export.graph.int8, "_passes_safely", lambda comparison, target: True)
    target = replace(EDGE, tolerance=replace(EDGE.tolerance, min_cosine=0.9999999))
    with refused(ComparisonFailed, match="calibration images"):
        go(net, target=target, calibration_NCHW=CALIBRATION)
    assert [file.name for file in path.parent.iterdir()] == ["model.failed.onnx"]
