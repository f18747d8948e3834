"""Export a network: make an artefact for a device, compare it with torch, time it.

targets (what to make) · to_onnx (make it) · outputs, batches (run torch and the artefact) · compare (judge) ·
metadata (what travels inside) · draft (whole or not at all) · documents (reports as JSON and YAML) · run (all of it)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from export.errors import ComparisonFailed as ComparisonFailed
from export.errors import ExportError as ExportError
from export.errors import InvalidGraph as InvalidGraph
from export.errors import MalformedReport as MalformedReport
from export.errors import UnsupportedTarget as UnsupportedTarget
from export.errors import UnusableInput as UnusableInput
from export.errors import WriteFailed as WriteFailed
from export.targets import TARGETS as TARGETS
from export.targets import target_at as target_at
from export.types import Comparison as Comparison
from export.types import ExportReport as ExportReport
from export.types import ExportTarget as ExportTarget
from export.types import OutputComparison as OutputComparison
from export.types import Preprocess as Preprocess
from export.types import Tolerance as Tolerance

if TYPE_CHECKING:
    from export.batches import artefact_outputs as artefact_outputs
    from export.compare import compare_outputs as compare_outputs
    from export.documents import read_document as read_document
    from export.documents import to_document as to_document
    from export.metadata import metadata_props as metadata_props
    from export.metadata import read_preprocess as read_preprocess
    from export.outputs import torch_outputs as torch_outputs
    from export.run import export as export
    from export.to_onnx import make_onnx as make_onnx

# These need torch, onnx, onnxruntime, numpy or pydantic, which are imported when the name is first used.
_LAZY = {
    "artefact_outputs": "export.batches",
    "compare_outputs": "export.compare",
    "export": "export.run",
    "make_onnx": "export.to_onnx",
    "metadata_props": "export.metadata",
    "read_document": "export.documents",
    "read_preprocess": "export.metadata",
    "to_document": "export.documents",
    "torch_outputs": "export.outputs",
}


def __getattr__(name: str) -> object:
    """Import the module behind a heavy name."""
    if name not in _LAZY:
        raise AttributeError(f"module 'export' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
