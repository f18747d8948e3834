from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import onnxslim
import pytest
import torch
from small_nets import ConvNet, PyramidNet, seeded
from torch import nn

from export import InvalidGraph, UnsupportedTarget, UnusableInput, make_onnx, read_preprocess, target_at
from export.targets import MAX_IR_VERSION, MAX_OPSET, TARGETS, check_target
from tests.conftest import refused

EDGE, CLOUD = target_at("edge", 32), target_at("cloud", 32)


def run_plain(model: onnx.ModelProto, images: torch.Tensor) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"input": images.numpy()}), strict=True))


def shape_of(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


@pytest.mark.parametrize("simplify", [True, False])
@pytest.mark.parametrize("opset", [13, 17, MAX_OPSET])
@pytest.mark.parametrize("name", TARGETS)
def test_onnx_computes_what_torch_computes(name, opset, simplify, images, metadata):
    net = seeded(ConvNet())
    model = make_onnx(net, replace(target_at(name, 32), opset=opset), metadata, simplify=simplify)
    batch = images if name == "cloud" else images[:1]
    np.testing.assert_allclose(run_plain(model, batch)["embedding"], net(batch).detach(), rtol=1e-4, atol=1e-5)
    assert model.opset_import[0].version == opset


@pytest.mark.parametrize("target", [EDGE, CLOUD])
def test_a_dict_of_maps_becomes_outputs_of_its_names_in_its_order(target, images, metadata):
    net = seeded(PyramidNet())
    model = make_onnx(net, target, metadata)
    batch = images if target.dynamic_batch else images[:1]
    outputs = run_plain(model, batch)
    assert list(outputs) == ["p2", "p3"]
    for name, output in net(batch).items():
        np.testing.assert_allclose(outputs[name], output.detach(), rtol=1e-4, atol=1e-5)


def test_names_that_are_not_in_alphabetical_order_keep_their_values(images, metadata):
    class Backwards(PyramidNet):
        def forward(self, images):
            maps = super().forward(images)
            return {"z": maps["p2"], "m": maps["p2"] * 2, "a": maps["p3"]}

    net = seeded(Backwards())
    outputs = run_plain(make_onnx(net, CLOUD, metadata), images)
    assert list(outputs) == ["z", "m", "a"]
    for name, output in net(images).items():
        np.testing.assert_allclose(outputs[name], output.detach(), rtol=1e-4, atol=1e-5)


def test_one_tensor_under_two_names_is_two_outputs(images, metadata):
    class Twice(ConvNet):
        def forward(self, images):
            embedding = super().forward(images)
            return {"embedding": embedding, "again": embedding, "input_itself": images}

    outputs = run_plain(make_onnx(seeded(Twice()), CLOUD, metadata), images)
    np.testing.assert_array_equal(outputs["embedding"], outputs["again"])
    np.testing.assert_array_equal(outputs["input_itself"], images)


def test_the_batch_is_a_name_in_the_dynamic_graph_and_a_number_in_the_static_one(metadata):
    dynamic, static = (make_onnx(seeded(PyramidNet()), target, metadata).graph for target in (CLOUD, EDGE))
    assert shape_of(dynamic.input[0]) == ["batch", 3, 32, 32]
    assert [shape_of(output) for output in dynamic.output] == [["batch", 12, 16, 16], ["batch", 20, 8, 8]]
    assert shape_of(static.input[0]) == [1, 3, 32, 32]
    assert [shape_of(output) for output in static.output] == [[1, 12, 16, 16], [1, 20, 8, 8]]


@pytest.mark.parametrize("simplify", [True, False])
def test_no_batch_norm_is_left_after_a_convolution(simplify, metadata):
    model = make_onnx(seeded(ConvNet()), EDGE, metadata, simplify=simplify)
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}


def test_simplifying_leaves_only_what_computes(metadata):
    model = make_onnx(seeded(ConvNet()), EDGE, metadata)
    assert {node.op_type for node in model.graph.node} == {"Conv", "Relu", "Add", "ReduceMean"}


def test_the_model_is_one_valid_file_for_older_runtimes(metadata):
    model = make_onnx(seeded(ConvNet()), EDGE, metadata)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version <= MAX_IR_VERSION
    assert not any(weight.external_data for weight in model.graph.initializer)


def test_the_same_module_gives_the_same_bytes(metadata):
    first, second = (make_onnx(seeded(ConvNet()), CLOUD, metadata).SerializeToString() for _ in range(2))
    assert first == second


def test_nothing_about_the_machine_it_was_made_on_is_inside(metadata):
    content = make_onnx(seeded(ConvNet()), EDGE, metadata).SerializeToString()
    assert str(Path(__file__).parent).encode() not in content
    assert Path(__file__).name.encode() not in content
    assert b"site-packages" not in content


def test_metadata_comes_back_with_the_versions_that_made_it(metadata, preprocess):
    model = make_onnx(seeded(ConvNet()), EDGE, {**metadata, "license": "Apache-2.0"})
    found = {prop.key: prop.value for prop in onnx.load_from_string(model.SerializeToString()).metadata_props}
    versions = json.loads(found.pop("versions"))
    assert found == {**metadata, "license": "Apache-2.0"}
    assert torch.__version__.startswith(versions["torch"])
    assert read_preprocess(found) == preprocess
    assert model.doc_string
    assert all(value.doc_string for value in (*model.graph.input, *model.graph.output))


def test_exporting_leaves_the_module_as_it_was(images, metadata):
    net = seeded(ConvNet())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    output = net(images).detach()
    make_onnx(net, EDGE, metadata)
    assert not any(part.training for part in net.modules())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert torch.equal(net(images), output)


def test_a_module_in_training_mode_is_refused(metadata):
    net = seeded(ConvNet())
    net.stem_norm.train()
    with pytest.raises(UnusableInput, match="training mode"):
        make_onnx(net, EDGE, metadata)


def test_a_module_that_returns_a_list_is_refused(metadata):
    class Listed(ConvNet):
        def forward(self, images):
            return list(self.maps(images))

    with pytest.raises(UnusableInput, match="returns list"):
        make_onnx(seeded(Listed()), EDGE, metadata)


def test_an_operator_without_onnx_is_named(metadata):
    class Special(nn.Module):
        def forward(self, images):
            return torch.special.bessel_j0(images)

    with pytest.raises(InvalidGraph, match="bessel_j0"):
        make_onnx(Special().eval(), EDGE, metadata)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nms": True, "dynamic_batch": True}, "dynamic"),
        ({"nms": True, "input_nchw": (2, 3, 32, 32)}, "batch is 2"),
        ({"opset": MAX_OPSET + 1}, "opset"),
        ({"opset": 9}, "opset"),
        ({"input_nchw": (0, 3, 32, 32)}, "at least 1"),
    ],
)
def test_what_cannot_be_made_is_refused(change, message, metadata):
    with pytest.raises(UnsupportedTarget, match=message):
        make_onnx(seeded(ConvNet()), replace(EDGE, **change), metadata)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preprocess": None}, "no 'preprocess'"),
        ({"preprocess": "{"}, "cannot be read"),
        ({"preprocess": "{}"}, "schema"),
        ({"preprocess": "[]"}, "mapping"),
        ({"license": 3}, "'license' is not text"),
    ],
)
def test_metadata_that_nobody_could_feed_the_model_with_is_refused(change, message, metadata):
    changed = {key: value for key, value in {**metadata, **change}.items() if value is not None}
    with pytest.raises(UnusableInput, match=message):
        make_onnx(seeded(ConvNet()), EDGE, changed)


def test_preprocessing_to_another_size_than_the_input_is_refused(metadata):
    with pytest.raises(UnusableInput, match="32x32 px, but the target's input is 64x64 px"):
        make_onnx(seeded(ConvNet()), target_at("edge", 64), metadata)


def test_a_simplifier_that_fails_or_breaks_the_graph_is_reported_and_not_passed_over(metadata, monkeypatch):
    def crash(model):
        raise IndexError("no such node\nmore")

    def drop_a_node(model):
        del model.graph.node[1]
        return model

    def rename_output(model):
        model.graph.output[0].name = "other"
        return model

    for broken, message in (
        (crash, "no such node; export with"),
        (drop_a_node, "does not validate"),
        (rename_output, "changed the outputs"),
        (lambda model: None, "changed the outputs"),
    ):
        monkeypatch.setattr(onnxslim, "slim", broken)
        with refused(InvalidGraph, match=message) as caught:
            make_onnx(seeded(ConvNet()), EDGE, metadata)
        assert "simplify=False" in str(caught.value)


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_can_be_made_and_is_called_what_it_is_listed_as(name):
    target = target_at(name, 96)
    check_target(target)
    assert target.name == name
    assert target.input_nchw == (1, 3, 96, 96)
    assert target.opset <= MAX_OPSET
    assert (target.tolerance.min_cosine, target.tolerance.max_relative_l2) == (0.99999, 1e-4)


def test_only_the_cloud_takes_any_batch():
    assert {name: target.dynamic_batch for name, target in TARGETS.items()} == {
        "point": False,
        "edge": False,
        "cloud": True,
    }


def test_an_unknown_target_names_the_nearest_first():
    with pytest.raises(UnsupportedTarget, match="'cluod'; use one of cloud"):
        target_at("cluod", 32)


def test_a_resolution_without_pixels_is_refused():
    with pytest.raises(UnsupportedTarget, match="0 px"):
        target_at("edge", 0)
