"""A torch module as the bytes of one ONNX file, for timing: traced, batch norm folded, all weights inside.

The exporter is torch's TorchScript one: it takes every opset up to 18, folds batch norm while it traces, and never
writes weights beside the file. What users deploy is made and checked by the package ``export``.
"""

from __future__ import annotations

import io
import warnings

import torch
from torch import nn

INPUT = "input"
OPSET = 17


def to_onnx_bytes(module: nn.Module, input_nchw: tuple[int, int, int, int], *, opset: int = OPSET) -> bytes:
    """Return ``module``, in eval mode whatever its mode is, as ONNX with input ``input`` and output ``output``.

    Args:
        module: on the CPU; takes a float32 tensor of shape ``input_nchw`` and returns one tensor.
        input_nchw: batch, channels, height and width in pixels; all fixed in the file.
        opset: version of the ONNX operators.
    """
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # Python branches on a shape are traced as taken, which is right where every shape is fixed.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        warnings.filterwarnings("ignore", "You are using the legacy TorchScript-based", DeprecationWarning)
        warnings.filterwarnings("ignore", "The feature will be removed", DeprecationWarning)
        # How a padding is written down; it is folded all the same when the file is simplified or loaded.
        warnings.filterwarnings("ignore", "Constant folding - Only steps=1", UserWarning)
        torch.onnx.export(
            module,
            (torch.zeros(input_nchw),),
            file,  # type: ignore[arg-type]  # only its other exporter insists on a path
            input_names=[INPUT],
            output_names=["output"],
            opset_version=opset,
            dynamo=False,
        )
    return file.getvalue()
