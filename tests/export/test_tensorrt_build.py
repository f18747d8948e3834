"""Engines built for real by tensorrt_rtx where it is installed, and by a double of its interface everywhere."""

from __future__ import annotations

import hashlib
import inspect
import shlex
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tensorrt_double
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from small_nets import onnx_bytes, unknown_operator
from tensorrt_double import GPU

import export.tensorrt.build
from export.errors import InvalidGraph, MissingBackend, UnsupportedTarget, UnusableInput, WriteFailed
from export.tensorrt.build import build_engine, load_backend, main, with_float_biases
from export.tensorrt.engine_file import EngineFile, Gpu, find_gpu, read_engine, rebuild_command
from tests.conftest import refused

INTERFACE = [
    value
    for value in vars(tensorrt_double).values()
    if inspect.isclass(value) and value.__module__ == "tensorrt_double"
]
real = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="needs pip install 'subnet-zoo[tensorrt-rtx]'")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "engines" / "model.engine"


def loaded(out: Path, **changes: Any) -> EngineFile:
    """What lies beside an engine of the double's."""
    installed = {"tensorrt": tensorrt_double.__version__}
    return read_engine(out, **{"gpu": GPU, "installed": installed, "trusted": True} | changes)[0]


class Noise(CalibrationDataReader):
    """Eight images to calibrate with."""

    def __init__(self) -> None:
        self.seeds = iter(range(8))

    def get_next(self) -> dict[str, np.ndarray] | None:
        seed = next(self.seeds, None)
        if seed is None:
            return None
        return {"input": np.random.default_rng(seed).standard_normal((1, 3, 32, 32), dtype=np.float32)}


def quantized(write: Any, tmp_path: Path) -> Path:
    """The maps' graph in int8 with symmetric activations, as ONNX Runtime's quantizer writes it."""
    out = tmp_path / "int8.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_static(
            write(onnx_bytes("edge", "maps"), "float.onnx"),
            out,
            Noise(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True},
        )
    return out


@real
@pytest.mark.tensorrt
def test_a_real_engine_is_built_for_a_gpu_that_is_not_there(write, out):
    onnx_path = write(onnx_bytes("cloud", "maps"))
    built = build_engine(onnx_path, out, backend="tensorrt_rtx", batch=(1, 4, 16), compute_capability="8.6")
    assert (built.backend, built.compute_capabilities, built.precision) == ("tensorrt_rtx", ("sm86",), "fp32")
    assert (built.batch, built.gpu, built.tf32) == ((1, 4, 16), None, False)
    assert built.backend_version == load_backend("tensorrt_rtx").__version__
    assert built.onnx_sha256 == hashlib.sha256(onnx_path.read_bytes()).hexdigest()
    gpu = Gpu(name="any", compute_capability="sm86", driver="")
    installed = {"tensorrt_rtx": built.backend_version}
    engine, content = read_engine(out, gpu=gpu, installed=installed, onnx=onnx_path, trusted=True)
    assert engine == built
    assert len(content) == built.bytes == out.stat().st_size > 10_000
    assert {path.name for path in out.parent.iterdir()} == {"model.engine", "model.engine.json"}


@real
@pytest.mark.tensorrt
def test_the_library_recognizes_its_own_engine_and_no_other_file(write, out):
    build_engine(write(onnx_bytes("edge")), out, backend="tensorrt_rtx")
    trt = load_backend("tensorrt_rtx")
    runtime = trt.Runtime(export.tensorrt.build.quiet_logger(trt))
    malformed = int(trt.EngineInvalidityDiagnostics.MALFORMED_ENGINE)
    assert not int(runtime.get_engine_validity(out.read_bytes())[1]) & malformed
    assert int(runtime.get_engine_validity(b"junk" * 100)[1]) & malformed


@real
@pytest.mark.tensorrt
def test_a_portable_engine_names_every_compute_capability_that_it_is_for(write, out):
    built = build_engine(write(onnx_bytes("edge")), out, backend="tensorrt_rtx")
    assert built.compute_capabilities == export.tensorrt.build.PORTABLE
    assert built.batch is None


@real
@pytest.mark.tensorrt
def test_a_half_precision_graph_gives_a_half_precision_engine(write, out):
    model = onnx.load_from_string(onnx_bytes("edge"))
    for weight in model.graph.initializer:
        values = onnx.numpy_helper.to_array(weight).astype("float16")
        weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    built = build_engine(write(model.SerializeToString()), out, backend="tensorrt_rtx", compute_capability="sm89")
    assert built.precision == "fp16"


@real
@pytest.mark.tensorrt
def test_a_graph_that_onnx_runtime_quantized_gives_an_int8_engine(write, out, tmp_path):
    built = build_engine(quantized(write, tmp_path), out, backend="tensorrt_rtx", compute_capability="sm89")
    assert built.precision == "int8"
    assert built.onnx_sha256 == hashlib.sha256((tmp_path / "int8.onnx").read_bytes()).hexdigest()


def test_biases_in_float_leave_every_output_as_it_was(write, tmp_path, images):
    content = quantized(write, tmp_path).read_bytes()
    changed = with_float_biases(content)
    kinds = [bias_kinds(onnx.load_from_string(graph)) for graph in (content, changed)]
    assert kinds == [{TensorProto.INT32}, {TensorProto.FLOAT}]
    expected, found = (evaluated(onnx.load_from_string(graph), images[:1].numpy()) for graph in (content, changed))
    for before, after in zip(expected, found, strict=True):
        np.testing.assert_array_equal(after, before)


def evaluated(model: onnx.ModelProto, images: np.ndarray) -> list[np.ndarray]:
    """The outputs, operator by operator, nothing fused."""
    model.opset_import[0].version = 19  # the first that the evaluator dequantizes in; it means the same as before
    return ReferenceEvaluator(model).run(None, {"input": images})


def bias_kinds(model: onnx.ModelProto) -> set[int]:
    """The types in which the biases of convolutions are stored."""
    types = {weight.name: weight.data_type for weight in model.graph.initializer}
    origin = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    biases = [node.input[2] for node in model.graph.node if node.op_type == "Conv"]
    return {types[origin.get(bias, bias)] for bias in biases}


def test_a_graph_without_quantized_biases_comes_back_as_it_is():
    assert with_float_biases(onnx_bytes("edge")) == onnx_bytes("edge")


@real
@pytest.mark.tensorrt
@pytest.mark.parametrize("capability", ["sm90", "9.0", "sm10", "mars", "sm"])
def test_a_compute_capability_that_is_not_offered_is_refused_with_those_that_are(capability, write, out):
    with pytest.raises(UnsupportedTarget, match=r"use one of .*sm86.*sm120"):
        build_engine(write(onnx_bytes("edge")), out, backend="tensorrt_rtx", compute_capability=capability)
    assert not out.parent.exists()


@real
@pytest.mark.tensorrt
def test_a_graph_that_the_library_cannot_read_is_refused_in_one_line_that_names_the_node(write, out):
    with refused(InvalidGraph, match=r"cannot read the graph: .*odd.*Nonsense"):
        build_engine(write(unknown_operator()), out, backend="tensorrt_rtx")
    assert not out.parent.exists()


@real
@pytest.mark.tensorrt
def test_a_timing_cache_has_no_place_where_nothing_is_timed(write, out, tmp_path):
    with pytest.raises(UnsupportedTarget, match="no timing cache"):
        build_engine(write(onnx_bytes("edge")), out, backend="tensorrt_rtx", timing_cache=tmp_path / "cache")


@real
@pytest.mark.tensorrt
@pytest.mark.parametrize("kind", INTERFACE, ids=lambda kind: kind.__name__)
def test_the_double_has_nothing_that_the_real_library_lacks(kind):
    library = load_backend("tensorrt_rtx")
    theirs = getattr(library, kind.__name__)
    ours = {name for name in vars(kind) if not name.startswith("_")} - {"refuses", "last_config", "loaded"}
    assert {name for name in ours if not hasattr(theirs, name)} - {"INPUT", "OUTPUT"} == set()


@pytest.mark.gpu
@pytest.mark.tensorrt
def test_this_machines_gpu_is_found_with_its_driver():
    gpu = find_gpu()
    assert gpu is not None
    assert gpu.driver
    assert gpu.compute_capability.startswith("sm")


def test_on_its_gpu_tensorrt_is_preferred_and_the_engine_names_that_gpu(double, write, out):
    built = build_engine(write(onnx_bytes("cloud")), out, batch=(2, 4, 8))
    assert (built.backend, built.backend_version) == ("tensorrt", double.__version__)
    assert (built.gpu, built.driver, built.compute_capabilities) == (GPU.name, GPU.driver, ("sm89",))
    (profile,) = double.Builder.last_config.profiles
    assert profile.shapes == {"input": ((2, 3, 32, 32), (4, 3, 32, 32), (8, 3, 32, 32))}


@pytest.mark.parametrize("tf32", [False, True])
def test_fp32_is_rounded_only_when_asked_for(tf32, double, write, out):
    built = build_engine(write(onnx_bytes("edge")), out, tf32=tf32)
    assert (double.BuilderFlag.TF32 in double.Builder.last_config.flags) is tf32 is built.tf32


def test_a_timing_cache_grows_from_build_to_build(double, write, out, tmp_path):
    cache = tmp_path / "caches" / "timing.cache"
    for expected in (b"+timed", b"+timed+timed"):
        build_engine(write(onnx_bytes("edge")), out, timing_cache=cache)
        assert cache.read_bytes() == expected


def test_a_timing_cache_of_another_gpu_is_replaced(double, write, out, tmp_path):
    cache = tmp_path / "timing.cache"
    cache.write_bytes(b"another GPU's times")
    build_engine(write(onnx_bytes("edge")), out, timing_cache=cache)
    assert cache.read_bytes() == b"+timed"


def test_a_timing_cache_that_cannot_be_read_is_reported(double, write, out, tmp_path):
    with pytest.raises(WriteFailed, match=r"timing cache .* cannot be read"):
        build_engine(write(onnx_bytes("edge")), out, timing_cache=tmp_path)


def test_a_build_that_fails_says_why_and_leaves_nothing(double, write, out, monkeypatch):
    monkeypatch.setattr(double.Builder, "refuses", "Error Code 10:\n no kernel for /stem/Conv")
    with refused(InvalidGraph, match="no kernel for /stem/Conv") as caught:
        build_engine(write(onnx_bytes("edge")), out)
    assert "driver" not in str(caught.value)
    assert not out.parent.exists()


def test_an_interrupted_build_leaves_the_engine_of_before(double, write, out, monkeypatch):
    before = build_engine(write(onnx_bytes("edge")), out)

    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(double.Builder, "build_serialized_network", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_engine(write(onnx_bytes("edge", "maps")), out)
    assert loaded(out) == before
    assert {path.name for path in out.parent.iterdir()} == {"model.engine", "model.engine.json"}


def test_tensorrt_builds_for_no_other_gpu(double, write, out):
    with pytest.raises(UnsupportedTarget, match=r"at hand \(sm89\), not sm86; use tensorrt_rtx"):
        build_engine(write(onnx_bytes("edge")), out, backend="tensorrt", compute_capability="sm86")


def test_tensorrt_without_a_gpu_names_the_library_that_needs_none(double, write, out, monkeypatch):
    monkeypatch.setattr(export.tensorrt.build, "find_gpu", lambda: None)
    with pytest.raises(MissingBackend, match=r"subnet-zoo\[tensorrt-rtx\]"):
        build_engine(write(onnx_bytes("edge")), out, backend="tensorrt")


def test_without_any_tensorrt_both_extras_are_named(write, out, monkeypatch):
    monkeypatch.setattr(export.tensorrt.build, "find_spec", lambda name: None)
    with pytest.raises(MissingBackend, match=r"subnet-zoo\[tensorrt\]'.*subnet-zoo\[tensorrt-rtx\]'"):
        build_engine(write(onnx_bytes("edge")), out)
    with pytest.raises(MissingBackend, match=r"tensorrt_rtx is not installed.*subnet-zoo\[tensorrt-rtx\]'"):
        build_engine(write(onnx_bytes("edge")), out, backend="tensorrt_rtx")


def test_libraries_that_cannot_be_loaded_are_reported_in_one_line(double, write, out, monkeypatch):
    def broken(name: str) -> None:
        raise ImportError("libnvinfer.so.11:\ncannot open shared object file")

    monkeypatch.setattr(export.tensorrt.build.importlib, "import_module", broken)
    with pytest.raises(MissingBackend, match=r"libnvinfer.so.11: cannot open"):
        build_engine(write(onnx_bytes("edge")), out)


@pytest.mark.parametrize(
    ("target", "batch", "message"),
    [
        ("cloud", None, "dynamic batch; say the smallest"),
        ("edge", (1, 8, 32), r"fixes its batch, so \(1, 8, 32\)"),
        ("cloud", (0, 8, 32), "1 <= smallest"),
        ("cloud", (8, 4, 32), "1 <= smallest"),
        ("cloud", (1, 64, 32), "1 <= smallest"),
    ],
)
def test_a_batch_that_does_not_fit_the_graph_is_refused(target, batch, message, double, write, out):
    with pytest.raises(UnsupportedTarget, match=message):
        build_engine(write(onnx_bytes(target)), out, batch=batch)


@pytest.mark.parametrize("content", [b"", b"no graph", b"\x08\x08"])
def test_what_is_no_graph_is_refused(content, double, write, out):
    with pytest.raises(UnusableInput, match="not an ONNX file"):
        build_engine(write(content), out)


def test_a_graph_that_is_not_there_and_an_unknown_back_end_are_refused(double, write, out, tmp_path):
    with pytest.raises(UnusableInput, match="cannot be read"):
        build_engine(tmp_path / "none.onnx", out)
    with pytest.raises(UnsupportedTarget, match=r"use one of tensorrt, tensorrt_rtx"):
        build_engine(write(onnx_bytes("edge")), out, backend="openvino")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "words", "code"),
    [
        (onnx_bytes("cloud"), [], 2),
        (onnx_bytes("cloud"), ["--batch", "4", "2", "1"], 2),
        (onnx_bytes("edge"), ["--backend", "tensorrt_rtx"], 1),
        (b"no graph", [], 1),
    ],
)
def test_the_command_fails_with_one_line_and_its_exit_code(content, words, code, double, write, out, capsys):
    assert main([str(write(content)), str(out), *words]) == code
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert not out.parent.exists()


@pytest.mark.parametrize(("target", "batch"), [("edge", None), ("cloud", (1, 2, 4))])
def test_the_command_that_a_refusal_offers_builds_the_same_engine(target, batch, double, write, out, capsys):
    onnx_path = write(onnx_bytes(target))
    first = build_engine(onnx_path, out, batch=batch, tf32=True)
    out.unlink()
    words = shlex.split(rebuild_command(first, onnx_path))
    assert main(words[3:]) == 0
    assert str(out) in capsys.readouterr().out
    assert loaded(out, onnx=onnx_path) == first
