"""``.ort`` files: loaded back, equal, and whole or not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_nets import onnx_bytes, unknown_operator

import export.formats.ort
from export import compare_outputs, target_at
from export.errors import InvalidGraph, UnsupportedTarget, UnusableInput, WriteFailed
from export.formats.ort import to_ort
from hardware_profiles import OnnxRunner
from tests.conftest import refused


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "made" / "model.ort"


def with_uint8_input(content: bytes) -> bytes:
    found = onnx.load_from_string(content)
    found.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    first = next(node for node in found.graph.node if "input" in node.input)
    first.input[0] = "image"
    found.graph.node.insert(0, helper.make_node("Cast", ["input"], ["image"], to=TensorProto.FLOAT))
    return found.SerializeToString()


@pytest.mark.parametrize("outputs", ["embedding", "maps"])
@pytest.mark.parametrize("target", ["point", "cloud"])
def test_it_gives_the_outputs_of_its_graph_on_images(target, outputs, write, out, images):
    content = onnx_bytes(target, outputs)
    assert to_ort(write(content), out) == out
    with OnnxRunner(content, threads=1) as reference, OnnxRunner(out, threads=1) as runner:
        for size in (1,) if target == "point" else (1, 2, 11):
            batch = {"input": images[:size].numpy()}
            comparison = compare_outputs(reference.run(batch), runner.run(batch), target_at(target, 32).tolerance)
            assert comparison.passed, comparison
    assert list(out.parent.iterdir()) == [out]


def test_it_is_in_the_runtimes_own_format(write, out):
    to_ort(write(onnx_bytes("point")), out)
    assert out.read_bytes()[4:8] == b"ORTM"


def test_a_graph_of_pixels_is_converted_as_well(write, out, images):
    content = with_uint8_input(onnx_bytes("point"))
    to_ort(write(content), out)
    pixels = {"input": (images[:1].numpy() * 40 + 128).clip(0, 255).astype(np.uint8)}
    with OnnxRunner(content, threads=1) as reference, OnnxRunner(out, threads=1) as runner:
        np.testing.assert_allclose(runner.run(pixels)["embedding"], reference.run(pixels)["embedding"], rtol=1e-4)


def test_a_conversion_that_changes_the_outputs_is_refused(write, out, monkeypatch):
    convert = export.formats.ort._convert

    def convert_another(content: bytes, path: Path) -> None:
        found = onnx.load_from_string(content)
        weight = found.graph.initializer[0]
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.001), weight.name))
        convert(found.SerializeToString(), path)

    monkeypatch.setattr(export.formats.ort, "_convert", convert_another)
    with pytest.raises(InvalidGraph, match=r"differs from .* keep the .onnx file"):
        to_ort(write(onnx_bytes("point")), out)
    assert list(out.parent.iterdir()) == []


def test_a_runtime_that_cannot_save_is_a_failed_write_and_no_bad_graph(write, out, monkeypatch):
    convert = export.formats.ort._convert
    nowhere = out.parent / "no such folder" / "model.ort"
    monkeypatch.setattr(export.formats.ort, "_convert", lambda content, path: convert(content, nowhere))
    with pytest.raises(WriteFailed, match="free space"):
        to_ort(write(onnx_bytes("point")), out)
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no graph"])
def test_what_is_no_graph_is_refused(content, write, out):
    with pytest.raises(UnusableInput, match="not an ONNX file"):
        to_ort(write(content), out)


def test_a_graph_that_the_runtime_does_not_run_is_refused_in_one_line_and_leaves_nothing(write, out):
    with refused(InvalidGraph, match="Nonsense"):
        to_ort(write(unknown_operator()), out)
    assert list(out.parent.iterdir()) == []


def test_a_name_by_which_the_runtime_would_not_know_the_format_is_refused(write, out):
    with pytest.raises(UnsupportedTarget, match=r"does not end in .ort"):
        to_ort(write(onnx_bytes("point")), out.with_suffix(".onnx"))
    assert not out.parent.exists()


def test_a_full_disk_or_an_interruption_leaves_the_file_of_before(write, out, monkeypatch):
    to_ort(write(onnx_bytes("point")), out)
    before = out.read_bytes()
    for error, seen in (
        (OSError(28, "No space left on device"), WriteFailed),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ):

        def stopped(*args: object, error: BaseException = error) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(export.formats.ort, "_convert", stopped)
            with pytest.raises(seen):
                to_ort(write(onnx_bytes("point", "maps")), out)
        assert list(out.parent.iterdir()) == [out]
        assert out.read_bytes() == before
