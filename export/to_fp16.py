"""A graph in half precision, with float32 inputs and outputs: for accelerators; a CPU has no kernels for it."""

from __future__ import annotations

import onnx
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

from export.errors import InvalidGraph

# A mean over a map sums thousands of values, which fp16 cannot hold exactly.
_KEPT_FLOAT = ("ReduceMean", "GlobalAveragePool", "Softmax")


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of ``model`` that computes in float16; its inputs and outputs stay float32.

    Raises:
        InvalidGraph: the graph cannot be converted.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    try:
        converted = convert_float_to_float16(
            result, keep_io_types=True, op_block_list=[*DEFAULT_OP_BLOCK_LIST, *_KEPT_FLOAT]
        )
    except Exception as error:  # the converter's errors share no base
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InvalidGraph(f"the graph cannot become fp16: {reason}; export fp32 instead") from error
    assert isinstance(converted, onnx.ModelProto)
    del converted.graph.value_info[:]
    return converted
