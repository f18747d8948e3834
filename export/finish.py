"""Finish: an fp32 graph as its target asks for it: in another precision, with its boxes selected, taking pixels."""

# ruff: noqa: N803 - a tensor's name ends in its shape.

from __future__ import annotations

import onnx
from torch import Tensor, nn

from export.detections import append_nms
from export.errors import UnusableInput
from export.outputs import torch_outputs
from export.pixels import take_pixels
from export.quantize import quantize
from export.to_fp16 import to_fp16
from export.types import ExportTarget, Preprocess, Quantization


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
