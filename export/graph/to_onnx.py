"""A torch module as one ONNX graph: traced, batch norm folded, simplified, checked, and described in its metadata.

The exporter is torch's TorchScript one: it takes every opset up to 18 and never writes weights beside the file.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from importlib.metadata import version

import onnx
import onnxslim
import torch
from torch import nn

from export.errors import InvalidGraph, UnusableInput
from export.formats.onnx_file import check_metadata
from export.targets import MAX_IR_VERSION, check_target
from export.types import ExportTarget
from export.verify.outputs import NamedOutputs
from hardware_profiles.measure.models import to_onnx_bytes


def make_onnx(
    module: nn.Module, target: ExportTarget, metadata: Mapping[str, str], *, simplify: bool = True
) -> onnx.ModelProto:
    """Return ``module`` as an ONNX model with the input ``input`` and named outputs.

    Args:
        module: in eval mode; a copy on the CPU in fp32 is traced. It takes ``[N, C, H, W]`` and returns one tensor,
            which becomes the output ``embedding``, or a dict or named tuple of them, which become outputs of its names.
        target: the shape, opset and batch to make; ``input_nchw`` is traced. The graph is fp32 and takes float images
            whatever the target says: ``finish`` does the rest.
        metadata: what ``metadata_props`` returns, and more if wanted; the versions that made the graph are added.
        simplify: let onnxslim remove what the graph does not need.

    Returns:
        A model that onnx's checker accepts, all weights inside.

    Raises:
        UnsupportedTarget: an opset or a shape that cannot be made.
        UnusableInput: a module in training mode, other outputs than tensors, or metadata without preprocessing.
        InvalidGraph: the module cannot be traced, or simplifying broke the graph.
    """
    check_target(target)
    check_metadata(metadata, target)
    if any(part.training for part in module.modules()):
        raise UnusableInput("the module is in training mode, where each batch changes the result; call .eval() first")
    model = _traced(NamedOutputs(copy.deepcopy(module).to("cpu", torch.float32)).eval(), target)
    if simplify:
        model = _simplified(model)
    # Older runtimes refuse newer IR versions, and nothing in these opsets needs one.
    model.ir_version = min(model.ir_version, MAX_IR_VERSION)
    _describe(model, metadata)
    return _checked(model, "torch" if not simplify else "onnxslim")


def _traced(module: NamedOutputs, target: ExportTarget) -> onnx.ModelProto:
    with torch.inference_mode():
        names = list(module(torch.zeros(target.input_nchw)))
    try:
        content = to_onnx_bytes(
            module, target.input_nchw, opset=target.opset, outputs=names, dynamic_batch=target.dynamic_batch
        )
    except (torch.onnx.OnnxExporterError, torch.onnx.errors.UnsupportedOperatorError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidGraph(f"torch cannot export the module at opset {target.opset}: {reason}") from error
    return onnx.load_from_string(content)


def _simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    outputs = [output.name for output in model.graph.output]
    try:
        simplified = onnxslim.slim(model)
    except Exception as error:  # whatever stopped it, the answer is the same: a clear refusal, not another graph
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InvalidGraph(f"onnxslim could not simplify the graph: {reason}; export with simplify=False") from error
    if not isinstance(simplified, onnx.ModelProto) or [output.name for output in simplified.graph.output] != outputs:
        raise InvalidGraph(f"onnxslim changed the outputs {outputs} of the graph; export with simplify=False")
    # onnxslim lists the shape of every inner value twice; who needs them can infer them.
    del simplified.graph.value_info[:]
    return simplified


def _describe(model: onnx.ModelProto, metadata: Mapping[str, str]) -> None:
    versions = json.dumps({name: version(name) for name in ("torch", "onnx", "onnxslim")})
    onnx.helper.set_model_props(model, {**metadata, "versions": versions})
    model.doc_string = "Preprocessing and provenance are in metadata_props."
    for image in model.graph.input:
        image.doc_string = "RGB images, NCHW, float32, preprocessed as metadata_props['preprocess'] says."
    for output in model.graph.output:
        output.doc_string = "One row per image."


def _checked(model: onnx.ModelProto, maker: str) -> onnx.ModelProto:
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).splitlines()[0]
        fix = "export with simplify=False" if maker == "onnxslim" else "change the layer it names"
        raise InvalidGraph(f"the graph from {maker} does not validate: {reason}; {fix}") from error
    return model
