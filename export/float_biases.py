"""A quantized graph with the biases of its convolutions in float: TensorRT dequantizes 8 bits and no more.

ONNX Runtime's quantizer writes a bias as int32 and a DequantizeLinear (scale of the input times scale of the weight).
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import onnx
from onnx import numpy_helper


def with_float_biases(onnx_bytes: bytes) -> bytes:
    """Return the graph with every dequantized int32 constant as the float32 constant that it stands for.

    The values stay the same to the last bit of float32; a graph without such constants comes back as it is.

    Args:
        onnx_bytes: a whole ONNX file, weights inside.
    """
    model = onnx.load_from_string(onnx_bytes)
    weights = {weight.name: weight for weight in model.graph.initializer}
    found = [node for node in model.graph.node if _dequantizes_int32(node, weights)]
    if not found:
        return onnx_bytes
    for node in found:
        bias = _dequantized(node, weights)
        model.graph.node.remove(node)
        model.graph.initializer.append(numpy_helper.from_array(bias, node.output[0]))
    changed: bytes = model.SerializeToString()
    return changed


def _dequantizes_int32(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> bool:
    constant = all(name in weights for name in node.input if name)
    return (
        node.op_type == "DequantizeLinear" and constant and weights[node.input[0]].data_type == onnx.TensorProto.INT32
    )


def _dequantized(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> npt.NDArray[Any]:
    values, scale, *zero = (numpy_helper.to_array(weights[name]) for name in node.input if name)
    bias: npt.NDArray[Any] = (values - zero[0] if zero else values).astype(scale.dtype) * scale
    return bias
