"""What an ONNX file says about itself: its tensors, its batch, its precision."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import onnx

from export.errors import UnusableInput
from export.types import Precision


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
