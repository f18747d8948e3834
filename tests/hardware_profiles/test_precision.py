from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from hardware_profiles import OnnxRunner, to_onnx_bytes
from hardware_profiles.measure.precision import to_precision

SHAPE = (1, 3, 8, 8)


@pytest.fixture(scope="module")
def model() -> bytes:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 1)]
    return to_onnx_bytes(nn.Sequential(*layers).eval(), SHAPE)


@pytest.fixture(scope="module")
def inputs() -> dict[str, np.ndarray]:
    return {"input": np.random.default_rng(0).standard_normal(SHAPE, dtype=np.float32)}


def output(model: bytes, inputs: dict[str, np.ndarray]) -> np.ndarray:
    with OnnxRunner(model, threads=1) as runner:
        return runner.run(inputs)["output"]


def test_fp32_is_the_model_itself(model, inputs):
    assert to_precision(model, "fp32", inputs) is model


@pytest.mark.parametrize(("precision", "apart"), [("fp16", 0.005), ("int8", 0.15)])
def test_a_shorter_precision_answers_almost_the_same_from_float_to_float(model, inputs, precision, apart):
    short, expected = to_precision(model, precision, inputs), output(model, inputs)
    assert {
        value.type.tensor_type.elem_type
        for graph in [onnx.load_from_string(short).graph]
        for value in (*graph.input, *graph.output)
    } == {onnx.TensorProto.FLOAT}
    error = np.linalg.norm(output(short, inputs) - expected) / np.linalg.norm(expected)
    assert 0 < error < apart


def test_halves_take_half_the_room(model, inputs):
    weights = [
        initializer.data_type
        for initializer in onnx.load_from_string(to_precision(model, "fp16", inputs)).graph.initializer
    ]
    assert set(weights) == {onnx.TensorProto.FLOAT16}


@pytest.mark.parametrize(
    ("style", "kind"),
    [("unsigned", onnx.TensorProto.UINT8), ("signed", onnx.TensorProto.INT8), ("symmetric", onnx.TensorProto.INT8)],
)
def test_in_int8_every_convolution_stands_between_bytes(model, inputs, style, kind):
    graph = onnx.load_from_string(to_precision(model, "int8", inputs, style=style)).graph
    counts = Counter(node.op_type for node in graph.node)
    # Input and both outputs; without a zero point the activation is not part of the first output's range.
    assert counts["Conv"] == 2 and counts["QuantizeLinear"] == (4 if style == "symmetric" else 3)
    constants = {initializer.name: initializer for initializer in graph.initializer}
    zeros = [constants[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert {zero.data_type for zero in zeros} == {kind}
    if style == "symmetric":
        assert all(onnx.numpy_helper.to_array(zero) == 0 for zero in zeros)


def test_the_runtime_keeps_maps_in_bytes_between_blocks(model, inputs, tmp_path):
    kinds = optimized(model, inputs, tmp_path)
    assert kinds.count("QLinearConv") == 2 and "Conv" not in kinds
    assert kinds.count("QuantizeLinear") == 1 and kinds.count("DequantizeLinear") == 1


def test_equal_biases_which_the_tracer_shares_are_bytes_too(inputs, tmp_path):
    layers = [nn.Conv2d(3, 3, 1) for _ in range(3)]
    for layer in layers:
        nn.init.constant_(layer.bias, 0.1)
    kinds = optimized(to_onnx_bytes(nn.Sequential(*layers), SHAPE), inputs, tmp_path)
    assert kinds.count("QLinearConv") == 3 and "Conv" not in kinds


def test_weights_have_a_scale_for_each_channel(model, inputs):
    graph = onnx.load_from_string(to_precision(model, "int8", inputs)).graph
    constants = {initializer.name: initializer for initializer in graph.initializer}
    weights = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in constants]
    assert len(weights) == 4  # two weights, two biases
    for node in weights:
        channels = constants[node.input[0]].dims[0]
        assert all(list(constants[name].dims) == [channels] for name in node.input[1:])
        assert [(a.name, a.i) for a in node.attribute if a.name == "axis"] == [("axis", 0)]


def optimized(model, inputs, tmp_path) -> list[str]:
    """The operators that the runtime makes of a model in int8."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    short = to_precision(model, "int8", inputs)
    onnxruntime.InferenceSession(short, options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
