from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from small_nets import ConvNet, PyramidNet, seeded

from export import ComparisonFailed, target_at
from export.artefact import export
from export.graph.finish import to_fp16
from export.graph.to_onnx import make_onnx
from export.targets import with_precision


@pytest.mark.parametrize("net", [ConvNet, PyramidNet])
@pytest.mark.parametrize("name", ["edge", "cloud"])
def test_half_precision_inside_and_float_outside(net, name, images, metadata, path):
    report = export(
        seeded(net()),
        images,
        target=with_precision(target_at(name, 32), "fp16"),
        path=path,
        metadata=metadata,
        predicted_ms=None,
        device="this",
        threads=1,
        time=False,
    )
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


def test_values_beyond_half_precision_are_caught_and_the_fix_is_fp32(images, metadata, path):
    net = seeded(ConvNet())
    with torch.no_grad():
        net.stem.weight *= 1e6
        net.stem_norm.running_var *= 1e-4
    with pytest.raises(ComparisonFailed, match="export fp32"):
        export(
            net,
            images,
            target=with_precision(target_at("edge", 32), "fp16"),
            path=path,
            metadata=metadata,
            predicted_ms=None,
            device="this",
            threads=1,
            time=False,
        )
    assert [file.name for file in path.parent.iterdir()] == ["model.failed.onnx"]


def test_the_output_is_not_bit_for_bit_fp32_so_something_was_rounded(images, metadata):
    model = make_onnx(seeded(ConvNet()), target_at("cloud", 32), metadata)
    outputs = []
    for graph in (model, to_fp16(model)):
        session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        outputs.append(session.run(None, {"input": images.numpy()})[0])
    assert not np.array_equal(*outputs)
