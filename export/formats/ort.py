"""An ONNX file as an ``.ort`` file: the graph already optimized, for small devices and reduced builds of the runtime.

On a large processor the ``.onnx`` file is the faster one: layouts made for one kind of processor are left out here, as
the runtime's own converter leaves them out, so that the file runs on all. Source: ONNX Runtime documentation,
"ORT model format" and "Reduced operator config file".
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime

from export.errors import InvalidGraph, UnsupportedTarget, WriteFailed
from export.formats.onnx_file import TensorSpec, read_onnx
from export.staging import move, scratch_beside
from hardware_profiles.runners import Arrays, OnnxRunner

# Fused operators add in another order; fp16 and int8 graphs round in between.
_MAX_RELATIVE_L2 = {"fp32": 1e-5, "fp16": 1e-2, "int8": 1e-2}


def to_ort(onnx: Path, out: Path) -> Path:
    """Convert ``onnx``, and return ``out`` once it gives the same outputs.

    Args:
        onnx: one file, weights inside, that ONNX Runtime can run on the CPU.
        out: where the ``.ort`` file goes; replaced in one step.

    Raises:
        UnsupportedTarget: ``out`` is not called ``*.ort``, by which the runtime knows the format.
        UnusableInput: ``onnx`` cannot be read.
        InvalidGraph: the runtime rejects the graph, or the converted one computes something else.
        WriteFailed: ``out`` could not be written.
    """
    if out.suffix != ".ort":
        raise UnsupportedTarget(f"{out.name} does not end in .ort, by which ONNX Runtime knows the format; rename it")
    graph = read_onnx(onnx)
    with scratch_beside(out) as folder:
        draft = folder / out.name
        try:
            _convert(graph.content, draft)
            distance = _distance(graph.content, draft, graph.inputs)
        except OSError:
            raise
        except Exception as error:  # the runtime's own errors share no base
            reason = " ".join(str(error).split())
            if "Failed to save" in reason:  # all that the runtime says of a full disk
                raise WriteFailed(f"could not write {out}; free space or choose another folder") from error
            raise InvalidGraph(f"ONNX Runtime cannot convert {onnx}: {reason}; change the layer it names") from error
        limit = _MAX_RELATIVE_L2[graph.precision]
        if not distance <= limit:
            raise InvalidGraph(
                f"{out.name} differs from {onnx} by {distance:.2g} (at most {limit:g}); keep the .onnx file"
            )
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        move(draft, out)
    return out


def _convert(content: bytes, out: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(out)
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    onnxruntime.InferenceSession(
        content, options, providers=["CPUExecutionProvider"], disabled_optimizers=["NchwcTransformer"]
    )


def _distance(content: bytes, ort: Path, inputs: tuple[TensorSpec, ...]) -> float:
    """The largest relative L2 distance of any output between the two, on noise."""
    images = _noise(inputs)
    with OnnxRunner(content, threads=1) as runner:
        reference = runner.run(images)
    with OnnxRunner(ort, threads=1) as runner:
        candidate = runner.run(images)
    return max(_relative_l2(reference[name], candidate[name]) for name in reference)


def _noise(inputs: tuple[TensorSpec, ...]) -> Arrays:
    rng = np.random.default_rng(0)
    shapes = {tensor.name: [1 if isinstance(size, str) else size for size in tensor.shape] for tensor in inputs}
    types = {tensor.name: tensor.data_type for tensor in inputs}
    return {
        name: rng.integers(0, 256, shape).astype(np.uint8)
        if types[name] == "UINT8"
        else rng.standard_normal(shape, dtype=np.float32)
        for name, shape in shapes.items()
    }


def _relative_l2(reference: np.ndarray, candidate: np.ndarray) -> float:
    if reference.shape != candidate.shape:
        return float("inf")
    difference = np.linalg.norm(reference.astype(np.float64) - candidate.astype(np.float64))
    norm = np.linalg.norm(reference.astype(np.float64))
    return float(difference / norm) if norm else float(difference)
