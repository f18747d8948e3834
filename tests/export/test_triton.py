"""A Triton model repository, read back by protobuf's own text parser."""

from __future__ import annotations

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from onnx import TensorProto, helper
from small_nets import onnx_bytes

from export.errors import UnsupportedTarget, WriteFailed
from export.formats.triton import triton_repository
from hardware_profiles import OnnxRunner

Field = descriptor_pb2.FieldDescriptorProto

# The part of Triton's model_config.proto that a repository of ours uses: message -> field -> type (+ for repeated).
SCHEMA = {
    "ModelConfig": {
        **dict.fromkeys(("name", "backend", "default_model_filename"), "string"),
        "max_batch_size": "int32",
        "input": "+ModelInput",
        "output": "+ModelOutput",
        "dynamic_batching": "ModelDynamicBatching",
        "instance_group": "+ModelInstanceGroup",
        "version_policy": "ModelVersionPolicy",
    },
    "ModelInput": {"name": "string", "data_type": "DataType", "dims": "+int64"},
    "ModelOutput": {"name": "string", "data_type": "DataType", "dims": "+int64"},
    "ModelDynamicBatching": {"max_queue_delay_microseconds": "uint64"},
    "ModelInstanceGroup": {"count": "int32", "kind": "Kind"},
    "ModelVersionPolicy": {"latest": "Latest"},
    "Latest": {"num_versions": "uint32"},
}
ENUMS = {
    "DataType": ["TYPE_INVALID", "TYPE_FP32", "TYPE_FP16", "TYPE_UINT8", "TYPE_INT64"],
    "Kind": ["KIND_AUTO", "KIND_GPU", "KIND_CPU"],
}
ONNX_TYPES = {"TYPE_FP32": TensorProto.FLOAT, "TYPE_FP16": TensorProto.FLOAT16, "TYPE_UINT8": TensorProto.UINT8}


def model_config_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="triton_part.proto", package="part", syntax="proto3")
    for name, values in ENUMS.items():
        numbered = [descriptor_pb2.EnumValueDescriptorProto(name=value, number=i) for i, value in enumerate(values)]
        file.enum_type.add(name=name, value=numbered)
    for name, fields in SCHEMA.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            label = Field.LABEL_REPEATED if kind.startswith("+") else Field.LABEL_OPTIONAL
            kind = kind.removeprefix("+")
            if kind in SCHEMA or kind in ENUMS:
                code = Field.TYPE_MESSAGE if kind in SCHEMA else Field.TYPE_ENUM
                message.field.add(name=field, number=number, label=label, type=code, type_name=f".part.{kind}")
            else:
                message.field.add(name=field, number=number, label=label, type=getattr(Field, f"TYPE_{kind.upper()}"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("part.ModelConfig"))


def parsed(path: Path) -> Any:
    return text_format.Parse(path.read_text("utf-8"), model_config_class()())


def data_type(tensor: Any) -> str:
    return tensor.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number[tensor.data_type].name


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "repository"


def with_nms_like_output(content: bytes) -> bytes:
    found = onnx.load_from_string(content)
    found.graph.output.append(helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["found", 4]))
    return found.SerializeToString()


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("outputs", ["embedding", "maps"])
@pytest.mark.parametrize(("target", "max_batch"), [("cloud", 16), ("cloud", 1), ("cloud", 0), ("edge", 0)])
def test_the_configuration_describes_the_graph_that_lies_beside_it(target, max_batch, outputs, write, out):
    name = "data-mocov2-cls-1ms@pixel3"
    assert triton_repository(write(onnx_bytes(target, outputs)), out, name=name, max_batch=max_batch) == out
    assert files(out) == {f"{name}/config.pbtxt", f"{name}/1/model.onnx"}
    config = parsed(out / name / "config.pbtxt")
    assert (config.name, config.backend, config.max_batch_size) == (name, "onnxruntime", max_batch)
    graph = onnx.load(out / name / "1" / config.default_model_filename).graph
    for ours, theirs in ((config.input, graph.input), (config.output, graph.output)):
        assert [tensor.name for tensor in ours] == [value.name for value in theirs]
        for tensor, value in zip(ours, theirs, strict=True):
            sizes = [dim.dim_value or -1 for dim in value.type.tensor_type.shape.dim]
            assert list(tensor.dims) == sizes[1 if max_batch else 0 :]
            assert ONNX_TYPES[data_type(tensor)] == value.type.tensor_type.elem_type
    assert config.HasField("dynamic_batching") is (max_batch > 1)
    assert [group.count for group in config.instance_group] == [1]


def test_the_served_graph_takes_the_batches_that_the_configuration_promises(write, out, images):
    triton_repository(write(onnx_bytes("cloud")), out, name="m", max_batch=8)
    config = parsed(out / "m" / "config.pbtxt")
    with OnnxRunner(out / "m" / "1" / "model.onnx", threads=1) as runner:
        for size in (1, config.max_batch_size):
            batch = np.resize(images.numpy(), (size, *config.input[0].dims))
            result = runner.run({config.input[0].name: batch})[config.output[0].name]
            assert result.shape == (size, *config.output[0].dims)


def test_a_second_model_joins_the_repository_and_none_is_replaced(write, out):
    for name in ("a", "b"):
        triton_repository(write(onnx_bytes("edge")), out, name=name, max_batch=0)
    before = files(out)
    with pytest.raises(WriteFailed, match="already there; remove it"):
        triton_repository(write(onnx_bytes("edge")), out, name="a", max_batch=0)
    assert files(out) == before == {f"{name}/{file}" for name in "ab" for file in ("config.pbtxt", "1/model.onnx")}


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", ".hidden", "a b", 'a"b', "a\n", "é", "-a"])
def test_a_name_that_is_no_folder_of_the_server_is_refused(name, write, out):
    with pytest.raises(UnsupportedTarget, match="cannot name a served model"):
        triton_repository(write(onnx_bytes("edge")), out, name=name, max_batch=0)
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "max_batch", "message"),
    [
        (onnx_bytes("edge"), 8, "fixes its batch; use 0"),
        (with_nms_like_output(onnx_bytes("cloud")), 8, "do not start with the batch; use 0"),
        (onnx_bytes("cloud"), -1, "max_batch is -1"),
    ],
)
def test_a_batch_that_the_server_could_not_form_is_refused(content, max_batch, message, write, out):
    with pytest.raises(UnsupportedTarget, match=message):
        triton_repository(write(content), out, name="m", max_batch=max_batch)
    assert not out.exists()


def test_outputs_of_unknown_length_are_served_without_batching(write, out):
    triton_repository(write(with_nms_like_output(onnx_bytes("cloud"))), out, name="m", max_batch=0)
    config = parsed(out / "m" / "config.pbtxt")
    assert {output.name: list(output.dims) for output in config.output} == {"embedding": [-1, 20], "boxes": [-1, 4]}


def test_a_full_disk_or_an_interruption_leaves_no_model(write, out, monkeypatch):
    source = write(onnx_bytes("edge"))
    for error, seen in (
        (OSError(28, "No space left on device"), WriteFailed),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ):

        def full(self: Path, *args: object, error: BaseException = error) -> int:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_text", full)
            with pytest.raises(seen):
                triton_repository(source, out, name="m", max_batch=0)
        assert list(out.iterdir()) == []


@pytest.mark.skipif(find_spec("tritonclient") is None, reason="needs pip install tritonclient")
@pytest.mark.parametrize(("target", "max_batch"), [("cloud", 16), ("edge", 0)])
def test_tritons_own_schema_reads_the_configuration(target, max_batch, write, out):
    # By its file: importing the package would ask for a client's network libraries.
    root = find_spec("tritonclient")
    assert root is not None and root.submodule_search_locations
    path = Path(next(iter(root.submodule_search_locations))) / "grpc" / "model_config_pb2.py"
    spec = spec_from_file_location("model_config_pb2", path)
    assert spec is not None and spec.loader is not None
    proto = module_from_spec(spec)
    spec.loader.exec_module(proto)
    triton_repository(write(onnx_bytes(target)), out, name="m", max_batch=max_batch)
    text = (out / "m" / "config.pbtxt").read_text("utf-8")
    config = text_format.Parse(text, proto.ModelConfig())
    assert config.instance_group[0].kind == proto.ModelInstanceGroup.KIND_AUTO
    assert config.input[0].data_type == proto.TYPE_FP32
    assert config.max_batch_size == max_batch
