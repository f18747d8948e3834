"""Finish: an fp32 graph as its target asks for it: in another precision, with its boxes selected, taking pixels."""

from __future__ import annotations

import onnx
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
from torch import Tensor, nn

from export.errors import InvalidGraph, UnusableInput
from export.graph.int8 import quantize
from export.graph.nms import append_nms
from export.graph.pixels import take_pixels
from export.types import ExportTarget, Preprocess, Quantization
from export.verify.outputs import torch_outputs

# ruff: noqa: N803 - a tensor's name ends in its shape.


def finish(
    model: onnx.ModelProto,
    module: nn.Module,
    target: ExportTarget,
    preprocess: Preprocess,
    calibration_NCHW: Tensor | None,
) -> tuple[onnx.ModelProto, Quantization | None]:
    """Return the graph to deliver, and for int8 how much of it is.

    Args:
        model: what ``make_onnx`` made of ``module``.
        module: in eval mode.
        target: what to deliver.
        preprocess: what the graph does itself where it takes pixels.
        calibration_NCHW: preprocessed images, needed for int8; not those of the comparison.

    Raises:
        UnusableInput: int8 without images, or boxes to select where there are none.
        InvalidGraph: the graph has no form in that precision.
    """
    quantization = None
    if target.precision == "fp16":
        model = to_fp16(model)
    elif target.precision == "int8":
        if calibration_NCHW is None:
            raise UnusableInput("int8 needs images to measure ranges on; give a folder of them with --calibration")
        images = calibration_NCHW.detach().cpu().numpy()
        model, quantization = quantize(model, images, torch_outputs(module, calibration_NCHW), target)
    if target.nms:
        model = append_nms(model)
    if target.uint8_input:
        model = take_pixels(model, preprocess)
    return model, quantization


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
