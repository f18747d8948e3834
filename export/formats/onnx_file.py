"""What an ONNX file says about itself: its tensors, its batch, its precision."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from export.documents import read_document, to_document
from export.errors import MalformedReport, UnusableInput
from export.types import ExportTarget, Preprocess
from hardware_profiles.plain_text import read_plain_json
from hardware_profiles.types import Precision

_OWN_DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """An input or output of a graph: its type by ONNX's name, e.g. ``FLOAT``, and its sizes, dynamic ones by name."""

    name: str
    data_type: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, kw_only=True)
class OnnxFile:
    """The parts of a graph that other formats need; ``content`` is the whole file."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    precision: Precision
    content: bytes

    @property
    def batch(self) -> int | str | None:
        """The first size of every input and output, a name if it is dynamic; ``None`` where they do not share it."""
        firsts = {tensor.shape[:1] for tensor in (*self.inputs, *self.outputs)}
        return next(iter(firsts))[0] if len(firsts) == 1 and () not in firsts else None


def read_onnx(path: Path) -> OnnxFile:
    """Read a file that has its weights inside.

    Raises:
        UnusableInput: it cannot be read, or is no ONNX file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnusableInput(f"{path} cannot be read ({error.strerror}); name an ONNX file") from error
    try:
        model = onnx.load_from_string(content)
    except Exception as error:  # protobuf's own errors have no public base
        raise UnusableInput(f"{path} is not an ONNX file; export it again") from error
    weights = {weight.name for weight in model.graph.initializer}
    inputs = _specs(value for value in model.graph.input if value.name not in weights)
    outputs = _specs(model.graph.output)
    if not inputs or not outputs:
        raise UnusableInput(f"{path} is not an ONNX file with inputs and outputs; export it again")
    return OnnxFile(inputs=inputs, outputs=outputs, precision=precision_of(model), content=content)


def check_self_contained(path: Path) -> None:
    """Refuse a graph that needs more than its own file and the runtime's own operators.

    Raises:
        UnusableInput: it is no ONNX file, keeps weights in other files, or names operators of other libraries.
    """
    model = onnx.load_from_string(read_onnx(path).content)
    if any(tensor.external_data for tensor in _tensors(model.graph)):
        raise UnusableInput(f"{path.name} keeps weights in other files; export it with its weights inside")
    domains = {node.domain for node in _nodes(model.graph)} | {function.domain for function in model.functions}
    if foreign := sorted(domains - _OWN_DOMAINS):
        raise UnusableInput(f"{path.name} needs operators of {foreign[0][:40]!r}; use those of ONNX and ONNX Runtime")


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*attribute.graphs, attribute.g):
                yield from _nodes(inner)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (*attribute.graphs, attribute.g):
                yield from _tensors(inner)


def precision_of(model: onnx.ModelProto) -> Precision:
    """What the graph computes in: int8 with quantized tensors, fp16 with half-precision weights, else fp32."""
    if any(node.op_type in {"QuantizeLinear", "DequantizeLinear"} for node in model.graph.node):
        return "int8"
    half = onnx.TensorProto.FLOAT16
    return "fp16" if any(weight.data_type == half for weight in model.graph.initializer) else "fp32"


def _specs(values: Iterable[onnx.ValueInfoProto]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            name=value.name,
            data_type=onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type),
            shape=tuple(
                dim.dim_value if dim.HasField("dim_value") else dim.dim_param or f"dynamic_{axis}"
                for axis, dim in enumerate(value.type.tensor_type.shape.dim)
            ),
        )
        for value in values
    )


def metadata_props(
    preprocess: Preprocess, *, name: str, net: str, architecture: str, classes: Sequence[str] = ()
) -> dict[str, str]:
    """Return the metadata to export a model with.

    Args:
        preprocess: how a picture becomes the input.
        name: the model's name, e.g. ``data-mocov2-cls-1ms``.
        net: the family of its network, e.g. ``mobile``.
        architecture: the point of that family, as JSON.
        classes: names of the classes of a network with a head, in their order; ``classes`` is then a JSON list.
    """
    about = {"name": name, "net": net, "architecture": architecture}
    names = {"classes": json.dumps(list(classes))} if classes else {}
    return {"preprocess": json.dumps(to_document(preprocess)), **about, **names}


def read_preprocess(metadata: Mapping[str, str]) -> Preprocess:
    """Return the preprocessing that ``metadata`` holds.

    Raises:
        UnusableInput: it has none, or one that cannot be read.
    """
    if "preprocess" not in metadata:
        raise UnusableInput("the metadata has no 'preprocess', so nobody could feed the artefact; add metadata_props()")
    try:
        return read_document(Preprocess, read_plain_json(metadata["preprocess"]))
    except (ValueError, MalformedReport) as error:
        raise UnusableInput(f"the metadata's 'preprocess' cannot be read: {error}; use metadata_props()") from error


def check_metadata(metadata: Mapping[str, str], target: ExportTarget) -> None:
    """Refuse metadata that does not describe the target's input.

    Raises:
        UnusableInput: no readable preprocessing, another input size, or a value that is not text.
    """
    if wrong := [key for key, value in metadata.items() if not isinstance(value, str)]:
        raise UnusableInput(f"the metadata's {wrong[0]!r} is not text; write it as text, e.g. with json.dumps")
    size_px = read_preprocess(metadata).size_px
    if size_px != target.input_nchw[2:]:
        raise UnusableInput(
            f"the metadata preprocesses to {size_px[0]}x{size_px[1]} px, but the target's input is"
            f" {target.input_nchw[2]}x{target.input_nchw[3]} px; make them equal"
        )
