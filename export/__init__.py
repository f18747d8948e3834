"""Export a network: make an artefact for a device, compare it with torch, time it.

targets (what to make) · to_onnx (make it) · quantize, qdq, to_fp16 (in less precision) · pixels, detections (with
preprocessing or boxes inside) · finish (all of that) · outputs, batches (run torch and the artefact) ·
compare (judge) · memory, drift · metadata (what travels inside) · draft (whole or not at all) · documents (as JSON) ·
examine, run (one artefact) · delivery, page (all that a kind of device gets)
to_ort, triton (for small devices, for a server) · to_tensorrt, plan, float_biases (build an engine) · engines, seal,
engine_runner (check, load and time one)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from export.errors import ComparisonFailed as ComparisonFailed
from export.errors import EngineRefused as EngineRefused
from export.errors import ExportError as ExportError
from export.errors import InvalidGraph as InvalidGraph
from export.errors import MalformedReport as MalformedReport
from export.errors import MissingBackend as MissingBackend
from export.errors import UnsupportedTarget as UnsupportedTarget
from export.errors import UnusableInput as UnusableInput
from export.errors import WriteFailed as WriteFailed
from export.targets import DELIVERIES as DELIVERIES
from export.targets import TARGETS as TARGETS
from export.targets import Delivery as Delivery
from export.targets import target_at as target_at
from export.targets import with_precision as with_precision
from export.types import Comparison as Comparison
from export.types import ExportReport as ExportReport
from export.types import ExportTarget as ExportTarget
from export.types import OutputComparison as OutputComparison
from export.types import Preprocess as Preprocess
from export.types import Quantization as Quantization
from export.types import Tolerance as Tolerance

if TYPE_CHECKING:
    from export.artefact import export as export
    from export.delivery import Delivered as Delivered
    from export.delivery import deliver as deliver
    from export.documents import read_document as read_document
    from export.documents import to_document as to_document
    from export.formats.onnx_file import metadata_props as metadata_props
    from export.formats.onnx_file import read_preprocess as read_preprocess
    from export.formats.ort import required_operators as required_operators
    from export.formats.triton import triton_repository as triton_repository
    from export.graph.to_onnx import make_onnx as make_onnx
    from export.tensorrt.build import build_engine as build_engine
    from export.tensorrt.engine_file import EngineFile as EngineFile
    from export.tensorrt.engine_file import read_engine as read_engine
    from export.tensorrt.runner import EngineRunner as EngineRunner
    from export.verify.compare import compare_outputs as compare_outputs
    from export.verify.outputs import artefact_outputs as artefact_outputs
    from export.verify.outputs import torch_outputs as torch_outputs

# These need torch, onnx, onnxruntime, numpy or pydantic, which are imported when the name is first used.
_LAZY = {
    "artefact_outputs": "export.verify.outputs",
    "build_engine": "export.tensorrt.build",
    "compare_outputs": "export.verify.compare",
    "Delivered": "export.delivery",
    "deliver": "export.delivery",
    "EngineFile": "export.tensorrt.engine_file",
    "EngineRunner": "export.tensorrt.engine_file",
    "export": "export.artefact",
    "make_onnx": "export.graph.to_onnx",
    "metadata_props": "export.formats.onnx_file",
    "read_document": "export.documents",
    "read_engine": "export.tensorrt.engine_file",
    "read_preprocess": "export.formats.onnx_file",
    "required_operators": "export.formats.ort",
    "to_document": "export.documents",
    "torch_outputs": "export.verify.outputs",
    "triton_repository": "export.formats.triton",
}


def __getattr__(name: str) -> object:
    """Import the module behind a heavy name."""
    if name not in _LAZY:
        raise AttributeError(f"module 'export' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
