"""A model repository that NVIDIA's Triton Inference Server loads as it is: ``tritonserver --model-repository OUT``.

    OUT/NAME/config.pbtxt · OUT/NAME/1/model.onnx

The graph is served by ONNX Runtime, on a GPU where the server has one. Source: Triton documentation, "Model
Repository" and "Model Configuration".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from export.errors import UnsupportedTarget, WriteFailed
from export.formats.onnx_file import OnnxFile, TensorSpec, read_onnx
from export.staging import scratch_beside

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*")
_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "FLOAT": "TYPE_FP32",
        "FLOAT16": "TYPE_FP16",
        "BFLOAT16": "TYPE_BF16",
        "DOUBLE": "TYPE_FP64",
        "BOOL": "TYPE_BOOL",
        **{name: f"TYPE_{name}" for name in ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")},
    }
)
# How long a request waits, at most, for others to share its batch.
_QUEUE_DELAY_US = 100


def triton_repository(onnx: Path, out: Path, *, name: str, max_batch: int) -> Path:
    """Add ``onnx`` as the model ``name`` to the repository ``out``, and return ``out``.

    Args:
        onnx: one file, weights inside.
        out: the repository; made if it is not there. Models of other names in it stay.
        name: of the model, and of its folder.
        max_batch: largest batch that the server may form; 0 for a graph that fixes its batch or whose outputs do not
            all start with it.

    Raises:
        UnsupportedTarget: a name or a batch that the server would refuse.
        UnusableInput: ``onnx`` cannot be read.
        WriteFailed: the model is already there, or cannot be written; nothing was left behind.
    """
    graph = read_onnx(onnx)
    _check(graph, name, max_batch)
    model = out / name
    if model.exists():
        raise WriteFailed(f"{model} is already there; remove it, or choose another name")
    with scratch_beside(out / name) as folder:
        draft = folder / name
        (draft / "1").mkdir(parents=True)
        (draft / "1" / "model.onnx").write_bytes(graph.content)
        # Last: without it the server sees no model here.
        (draft / "config.pbtxt").write_text(config_pbtxt(graph, name=name, max_batch=max_batch), "utf-8")
        draft.rename(model)
    return out


def config_pbtxt(graph: OnnxFile, *, name: str, max_batch: int) -> str:
    """Return the model's configuration, a ``ModelConfig`` in protobuf's text format.

    With ``max_batch`` above 0 the server adds the batch to all sizes itself, so they are written without it.
    """
    first = 1 if max_batch else 0
    blocks = [
        f'name: "{name}"\nbackend: "onnxruntime"\ndefault_model_filename: "model.onnx"\nmax_batch_size: {max_batch}',
        *(_tensor("input", tensor, first) for tensor in graph.inputs),
        *(_tensor("output", tensor, first) for tensor in graph.outputs),
    ]
    if max_batch > 1:
        blocks.append(f"dynamic_batching {{\n  max_queue_delay_microseconds: {_QUEUE_DELAY_US}\n}}")
    blocks.append("instance_group [\n  {\n    count: 1\n    kind: KIND_AUTO\n  }\n]")
    blocks.append("version_policy {\n  latest {\n    num_versions: 1\n  }\n}")
    return "\n".join(blocks) + "\n"


def _tensor(kind: str, tensor: TensorSpec, first: int) -> str:
    sizes = ", ".join("-1" if isinstance(size, str) else str(size) for size in tensor.shape[first:])
    name = tensor.name.replace("\\", "\\\\").replace('"', '\\"')
    lines = [f'name: "{name}"', f"data_type: {_TYPES[tensor.data_type]}", f"dims: [ {sizes} ]"]
    body = "\n".join(f"    {line}" for line in lines)
    return f"{kind} [\n  {{\n{body}\n  }}\n]"


def _check(graph: OnnxFile, name: str, max_batch: int) -> None:
    if not _NAME.fullmatch(name):
        raise UnsupportedTarget(f"{name!r} cannot name a served model; use letters, digits and . _ @ - only")
    if max_batch < 0:
        raise UnsupportedTarget(f"max_batch is {max_batch}; use 0 for no batching by the server, or at least 1")
    if max_batch and not isinstance(graph.batch, str):
        found = "fixes its batch" if graph.batch else "has outputs that do not start with the batch"
        raise UnsupportedTarget(f"max_batch is {max_batch}, but the graph {found}; use 0, or a dynamic batch")
    for tensor in (*graph.inputs, *graph.outputs):
        if tensor.data_type not in _TYPES:
            raise UnsupportedTarget(f"{tensor.name!r} is {tensor.data_type}, which Triton does not serve; use FLOAT")
        if len(tensor.shape) <= (1 if max_batch else 0):
            raise UnsupportedTarget(f"{tensor.name!r} has no size beside its batch; use max_batch 0 or reshape it")
