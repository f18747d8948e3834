from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_nets import ConvNet, seeded, structured_images

from export import Tolerance, target_at, torch_outputs
from export.graph.int8 import quantize
from export.graph.to_onnx import make_onnx
from export.verify.memory import peak_memory_bytes


def graph(nodes, outputs, weights=(), side=(1, 4)):
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, side)],
        [value(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def test_a_chain_needs_two_values_at_once():
    nodes = [helper.make_node("Relu", [a], [b]) for a, b in (("x", "a"), ("a", "b"), ("b", "c"), ("c", "d"))]
    assert peak_memory_bytes(graph(nodes, ["d"])) == 2 * 16


def test_a_residual_needs_a_third():
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    nodes.append(helper.make_node("Add", ["x", "b"], ["y"]))
    assert peak_memory_bytes(graph(nodes, ["y"])) == 3 * 16


def test_the_widest_place_counts_and_weights_are_added():
    nodes = [
        helper.make_node("MatMul", ["x", "wide"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "narrow"], ["y"]),
    ]
    weights = [("wide", np.zeros((4, 100), np.float32)), ("narrow", np.zeros((100, 2), np.float32))]
    assert peak_memory_bytes(graph(nodes, ["y"], weights)) == 2 * 400 + 1600 + 800


def test_an_output_stays_to_the_end():
    nodes = [helper.make_node("Relu", [a], [b]) for a, b in (("x", "a"), ("a", "b"), ("b", "c"))]
    assert peak_memory_bytes(graph(nodes, ["a", "c"])) == 3 * 16


def test_a_batch_multiplies_activations_only(metadata):
    one = make_onnx(seeded(ConvNet()), target_at("edge", 32), metadata)
    weights = sum(len(weight.raw_data) for weight in one.graph.initializer)
    four = make_onnx(seeded(ConvNet()), replace(target_at("edge", 32), input_nchw=(4, 3, 32, 32)), metadata)
    assert peak_memory_bytes(four) - weights == 4 * (peak_memory_bytes(one) - weights)
    assert peak_memory_bytes(make_onnx(seeded(ConvNet()), target_at("cloud", 32), metadata)) == pytest.approx(
        peak_memory_bytes(one)
    )


def test_an_int8_layer_needs_its_int8_tensors_only():
    constants = [
        ("scale", np.array(0.1, np.float32)),
        ("zero", np.array(0, np.uint8)),
        ("w", np.zeros((4, 6), np.int8)),
        ("w_scale", np.array(0.1, np.float32)),
        ("w_zero", np.array(0, np.int8)),
    ]
    node = helper.make_node
    nodes = [
        node("QuantizeLinear", ["x", "scale", "zero"], ["x8"]),
        node("DequantizeLinear", ["x8", "scale", "zero"], ["xf"]),
        node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["wf"]),
        node("MatMul", ["xf", "wf"], ["yf"]),
        node("QuantizeLinear", ["yf", "scale", "zero"], ["y8"]),
        node("DequantizeLinear", ["y8", "scale", "zero"], ["y"]),
    ]
    held = 4 + 1 + 24 + 4 + 1
    # At its widest either x and x8, or y8 and y: floats only where the graph begins and ends.
    assert peak_memory_bytes(graph(nodes, ["y"], constants)) == held + max(16 + 4, 6 + 24)


def test_int8_needs_less_than_fp32(metadata):
    net, images = seeded(ConvNet()), structured_images(16)
    target = replace(target_at("edge", 32), tolerance=Tolerance(min_cosine=0, max_relative_l2=9))
    model = make_onnx(net, target, metadata)
    int8, how = quantize(model, images.numpy(), torch_outputs(net, images), target)
    assert how.int8_weights == 1.0
    assert peak_memory_bytes(int8) < peak_memory_bytes(model)
