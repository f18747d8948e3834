"""Peak memory of a graph: its weights, and the largest sum of activations that are alive at once.

A value is alive from the node that makes it to the last node that reads it; an output to the end. That is what a
runtime needs that frees early and runs nodes in the file's order; alignment and a runtime's own buffers come on top.
Such a runtime runs an int8 layer as one: it reads the int8 tensor before ``DequantizeLinear`` and writes the one after
``QuantizeLinear``, and what stands between is never there.
"""

from __future__ import annotations

import math

import onnx
from onnx import TensorProto

from export.errors import InvalidGraph
from export.targets import INT8_LAYERS


def peak_memory_bytes(model: onnx.ModelProto) -> int:
    """Return the bytes that one call needs at the graph's own batch size; a dynamic one counts as 1.

    Raises:
        InvalidGraph: shapes cannot be inferred.
    """
    source = _fused_away(model)
    sizes = {name: size for name, size in _value_sizes(model).items() if name not in source}
    weights = sum(_bytes(weight.data_type, weight.dims) for weight in model.graph.initializer)
    last = {source.get(name, name): i for i, node in enumerate(model.graph.node) for name in node.input}
    last |= {output.name: len(model.graph.node) for output in model.graph.output}
    alive = {image.name: sizes[image.name] for image in model.graph.input if image.name in sizes}
    peak = sum(alive.values())
    for i, node in enumerate(model.graph.node):
        alive |= {name: sizes[name] for name in node.output if name in last and name in sizes}
        peak = max(peak, sum(alive.values()))
        alive = {name: size for name, size in alive.items() if last.get(name, -1) > i}
    return weights + peak


def _fused_away(model: onnx.ModelProto) -> dict[str, str]:
    """Values that a runtime with int8 layers never holds, and what is read in place of each."""
    readers: dict[str, set[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    outputs = {output.name for output in model.graph.output}
    source: dict[str, str] = {}
    for node in model.graph.node:
        for name in set(node.output) - outputs:
            if node.op_type == "DequantizeLinear" and readers.get(name, set()) <= set(INT8_LAYERS):
                source[name] = node.input[0]
            elif node.op_type in INT8_LAYERS and readers.get(name) == {"QuantizeLinear"}:
                source[name] = name
    return source


def _value_sizes(model: onnx.ModelProto) -> dict[str, int]:
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except onnx.shape_inference.InferenceError as error:
        raise InvalidGraph(f"the graph's shapes cannot be inferred: {str(error).splitlines()[0]}") from error
    sizes = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        sizes[value.name] = _bytes(tensor.elem_type, [dim.dim_value or 1 for dim in tensor.shape.dim])
    return sizes


def _bytes(data_type: int, shape: list[int] | tuple[int, ...]) -> int:
    if data_type == TensorProto.STRING or data_type == TensorProto.UNDEFINED:
        return 0
    return math.prod(shape) * int(onnx.helper.tensor_dtype_to_np_dtype(data_type).itemsize)
