"""Precision: an ONNX model in fp32 -> the same in fp16 or int8, for timing.

int8 is QDQ with static scales: where a runtime finds ``DequantizeLinear, Conv, QuantizeLinear`` it runs one int8
convolution, and between two of those the map stays int8. A block alone is quantized at its borders, too; the empty
block of ``measure`` is quantized the same way, so that what the borders cost is taken off again. What users deploy is
quantized, and compared, by the package ``export``.
"""

from __future__ import annotations

import platform
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.quant_utils import add_pre_process_metadata
from onnxruntime.transformers.float16 import convert_float_to_float16

from hardware_profiles.runners import Arrays
from hardware_profiles.types import Precision

# What int8 kernels like best: x86 multiplies unsigned by signed bytes, ARM signed by signed; GPUs want no zero points.
Int8Style = Literal["unsigned", "signed", "symmetric"]


def to_precision(model: bytes, precision: Precision, inputs: Arrays, *, style: Int8Style | None = None) -> bytes:
    """``model``, an ONNX file in fp32, in ``precision``; inputs and outputs stay float32.

    Args:
        model: all shapes fixed, batch norm folded.
        precision: of weights and activations.
        inputs: one batch, from which the ranges of int8 activations are taken.
        style: of int8; by default what this machine's processor likes.
    """
    if precision == "fp32":
        return model
    graph = onnx.load_from_string(model)
    if precision == "fp16":
        return bytes(convert_float_to_float16(graph, keep_io_types=True).SerializeToString())
    _unshare(graph.graph)
    add_pre_process_metadata(graph)  # the tracer has folded what that step folds; without the mark it would warn
    unsigned = (style or native_style()) == "unsigned"
    with TemporaryDirectory(prefix="int8-") as folder:
        path = Path(folder) / "model.onnx"
        quantize_static(
            graph,
            path,
            _OneBatch(inputs),
            quant_format=QuantFormat.QDQ,
            # Sums of two products of full bytes do not fit into 16 bits, where x86 without VNNI keeps them.
            reduce_range=unsigned,
            activation_type=QuantType.QUInt8 if unsigned else QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={"ActivationSymmetric": style == "symmetric"},
        )
        short = onnx.load(path)
    _widen_scales(short.graph)
    return bytes(short.SerializeToString())


def native_style() -> Int8Style:
    """The int8 that this machine's processor runs fastest."""
    return "unsigned" if platform.machine().lower() in ("x86_64", "amd64") else "signed"


def _unshare(graph: onnx.GraphProto) -> None:
    """Give every convolution its own bias: the tracer shares equal ones, which the quantizer then leaves in float."""
    constants = {initializer.name: initializer for initializer in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Identity" and node.input[0] in constants]:
        own = graph.initializer.add()
        own.CopyFrom(constants[node.input[0]])
        own.name = node.output[0]
        graph.node.remove(node)


def _widen_scales(graph: onnx.GraphProto) -> None:
    """Give each channel of a weight and a bias its own scale, all alike.

    Deployed models have a scale a channel, and run other kernels for it. Let the quantizer find those scales, one by
    one in Python, and a large network takes seconds.
    """
    constants = {initializer.name: initializer for initializer in graph.initializer}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            channels = constants[node.input[0]].dims[0]
            for i, name in enumerate(node.input[1:], start=1):
                value = numpy_helper.to_array(constants[name])
                own = f"{node.output[0]}.{i}"
                graph.initializer.append(numpy_helper.from_array(np.full(channels, value.item(), value.dtype), own))
                node.input[i] = own
            node.attribute.append(onnx.helper.make_attribute("axis", 0))


class _OneBatch(CalibrationDataReader):  # type: ignore[misc]  # the library is not typed
    def __init__(self, inputs: Arrays) -> None:
        self._left = [dict(inputs)]

    def get_next(self) -> Arrays | None:
        """The batch, once."""
        return self._left.pop() if self._left else None
