"""The runner on a double of the library whose device memory is the host's, and, where there is one, on a GPU."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from small_nets import onnx_bytes
from torch import Tensor

import export.tensorrt.build
import export.tensorrt.engine_file
from export import compare_outputs, target_at
from export.errors import EngineRefused, InvalidGraph
from export.tensorrt.build import build_engine
from export.tensorrt.engine_file import write_engine
from export.tensorrt.runner import EngineRunner
from hardware_profiles import OnnxRunner


@pytest.fixture
def built(double, tmp_path: Path):
    """Build an engine; its path."""

    def call(content: bytes, batch: tuple[int, int, int] | None = None) -> Path:
        (tmp_path / "model.onnx").write_bytes(content)
        out = tmp_path / "model.engine"
        build_engine(tmp_path / "model.onnx", out, batch=batch)
        return out

    return call


@pytest.mark.parametrize("outputs", ["embedding", "maps"])
def test_an_engine_gives_what_its_graph_gives_at_every_batch(outputs, built, images: Tensor, tmp_path):
    content = onnx_bytes("cloud", outputs)
    path = built(content, (1, 4, 8))
    with (
        OnnxRunner(content, threads=1) as reference,
        EngineRunner(path, onnx=tmp_path / "model.onnx", trusted=True) as runner,
    ):
        for size in (2, 1, 8, 2):
            batch = {"input": images[:size].numpy()}
            expected, found = reference.run(batch), runner.run(batch)
            assert found.keys() == expected.keys()
            for name in expected:
                np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6)


def test_a_foreign_engine_never_reaches_the_library(built, double):
    path = built(onnx_bytes("edge"))
    with pytest.raises(EngineRefused), EngineRunner(path):
        pass
    path.write_bytes(b"evil")
    with pytest.raises(EngineRefused), EngineRunner(path, trusted=True):
        pass
    assert double.Runtime.loaded == []


def test_an_engine_that_the_library_refuses_is_reported_with_the_command(built, tmp_path):
    path = built(onnx_bytes("edge"))
    engine = build_engine(tmp_path / "model.onnx", path)
    junk = replace(engine, sha256=hashlib.sha256(b"junk").hexdigest(), bytes=4)
    write_engine(junk, b"junk")
    refused = pytest.raises(EngineRefused, match=r"assertion failed. Two lines; build it again: python -m")
    with refused, EngineRunner(path, trusted=True):
        pass


def test_a_shape_that_the_engine_does_not_take_is_refused(built, images: Tensor):
    path = built(onnx_bytes("edge"))
    with EngineRunner(path, trusted=True) as runner, pytest.raises(InvalidGraph, match=r"\(2, 3, 32, 32\)"):
        runner.run({"input": images[:2].numpy()})


def test_an_output_whose_size_depends_on_its_values_is_refused(built, images: Tensor):
    model = onnx.load_from_string(onnx_bytes("edge"))
    model.graph.node.add(op_type="NonZero", input=[model.graph.output[0].name], output=["where"])
    model.graph.node.add(op_type="Cast", input=["where"], output=["places"]).attribute.append(
        onnx.helper.make_attribute("to", onnx.TensorProto.FLOAT)
    )
    model.graph.output.append(onnx.helper.make_tensor_value_info("places", onnx.TensorProto.FLOAT, [2, "found"]))
    path = built(model.SerializeToString())
    with EngineRunner(path, trusted=True) as runner, pytest.raises(InvalidGraph, match=r"'places' .* no fixed size"):
        runner.run({"input": images[:1].numpy()})


def test_the_time_is_that_between_events_of_the_quietest_round(built, images: Tensor):
    # A round has 3 samples; the second round is quiet, with one slow run in it.
    times_ms = iter([0, 10, 20, 30, 100, 101, 102, 104, 200, 205, 210, 215])
    names = itertools.count()

    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing
            self.name = next(names)

        def record(self, stream: object) -> None:
            self.at_ms = next(times_ms)

        def elapsed_time(self, after: Event) -> float:
            return float(after.at_ms - self.at_ms)

    with EngineRunner(built(onnx_bytes("edge")), trusted=True) as runner:
        latency = runner.time({"input": images[:1].numpy()}, rounds=3, samples=3, warmup=2, event=Event)
        assert runner._context.runs == 3 * (3 + 2)
    assert latency.median_ms == pytest.approx(1)
    assert latency.p90_ms == pytest.approx(1.8)
    assert latency.samples == 9


@pytest.mark.gpu
@pytest.mark.tensorrt
@pytest.mark.parametrize("backend", export.tensorrt.build.BACKENDS)
def test_a_real_engine_on_a_real_gpu_is_torchs_equal_and_has_a_time(backend, images: Tensor, tmp_path):
    if backend not in export.tensorrt.build.installed_backends():
        pytest.skip(f"{backend} is not installed")
    gpu = export.tensorrt.build.find_gpu()
    assert gpu is not None
    content = onnx_bytes("cloud", "maps")
    (tmp_path / "model.onnx").write_bytes(content)
    try:
        build_engine(
            tmp_path / "model.onnx",
            tmp_path / "model.engine",
            backend=backend,
            batch=(1, 4, 11),
            compute_capability=gpu.compute_capability,
            timing_cache=tmp_path / "timing.cache" if backend == "tensorrt" else None,
        )
    except export.tensorrt.build.UnsupportedTarget as error:
        pytest.skip(str(error))
    batch = {"input": images.numpy()}
    with OnnxRunner(content, threads=1) as reference:
        expected = reference.run(batch)
    with EngineRunner(tmp_path / "model.engine", onnx=tmp_path / "model.onnx", trusted=True) as runner:
        found = runner.run(batch)
        latency = runner.time(batch)
    comparison = compare_outputs(expected, found, target_at("cloud", 32).tolerance)
    assert comparison.passed, comparison
    assert latency.median_ms > 0
