"""Export a module: make the artefact, compare it with torch, time it, and only then put it in place."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from export.errors import ComparisonFailed, InvalidGraph, UnusableInput
from export.formats.onnx_file import read_preprocess
from export.graph.finish import finish
from export.graph.pixels import to_pixels
from export.graph.to_onnx import make_onnx
from export.staging import draft_of, move
from export.targets import check_target
from export.types import Comparison, ExportReport, ExportTarget, Preprocess
from export.verify.compare import compare_outputs
from export.verify.memory import peak_memory_bytes
from export.verify.outputs import MIN_DYNAMIC_IMAGES, artefact_outputs, torch_outputs
from hardware_profiles import Latency
from hardware_profiles.runners import OnnxRunner
from hardware_profiles.timing.timing import time_runners

# ruff: noqa: N803 - a tensor's name ends in its shape.


_PACKAGES = ("torch", "onnx", "onnxslim", "onnxruntime", "numpy")


def export(
    module: nn.Module,
    images_NCHW: Tensor,
    *,
    target: ExportTarget,
    path: Path,
    metadata: Mapping[str, str],
    predicted_ms: float | None,
    device: str,
    threads: int,
    time: bool = True,
    simplify: bool = True,
    calibration_NCHW: Tensor | None = None,
    reference: Mapping[str, npt.NDArray[Any]] | None = None,
) -> ExportReport:
    """Export ``module`` to ``path`` and return the evidence that the artefact computes what torch computes.

    The module itself stays as it is: a copy on the CPU in fp32 is exported and is what the artefact must match.

    Args:
        module: in eval mode; returns one tensor or a dict of tensors by name.
        images_NCHW: real images, preprocessed as ``metadata`` says, float32 ``[N, C, H, W]``; N >= 1, or
            >= 3 for a dynamic batch.
        target: what to make, e.g. ``target_at("edge", 32)``.
        path: where the artefact goes; replaced in one step, and only by an artefact that passed.
        metadata: what ``metadata_props`` returns, and more if wanted.
        predicted_ms: what the latency table said, in milliseconds; kept beside the measured time.
        device: the id of the device this runs on.
        threads: threads of the runtime, as for the latency table.
        time: measure one call at the target's batch size.
        simplify: let onnxslim remove what the graph does not need.
        calibration_NCHW: for int8: other images like those, 8 or more, on which ranges and layers are chosen.
        reference: what ``torch_outputs`` gave for the images, where that is known already.

    Raises:
        UnsupportedTarget: a target that cannot be made.
        UnusableInput: a module, images or metadata that do not fit the target.
        InvalidGraph: the graph does not validate, or the runtime cannot run it; nothing was left behind.
        WriteFailed: the destination cannot be written; nothing was left there.
        ComparisonFailed: the artefact differs from torch; it is kept as ``<stem>.failed.onnx`` and the error carries
            the report.
    """
    check_target(target)
    if threads < 1:
        raise UnusableInput(f"threads is {threads}; the runtime needs at least 1")
    for given in (images_NCHW, calibration_NCHW):
        if given is not None:
            check_images(given, target)
    preprocess = read_preprocess(metadata)
    model = make_onnx(module, target, metadata, simplify=simplify)
    model, quantization = finish(model, module, target, preprocess, calibration_NCHW)
    failed = path.with_name(f"{path.stem}.failed{path.suffix}")
    with draft_of(path, model.SerializeToString()) as draft:
        comparison, measured = examine(
            draft,
            images_NCHW.detach().cpu().numpy(),
            torch_outputs(module, images_NCHW) if reference is None else reference,
            target=target,
            preprocess=preprocess,
            threads=threads,
            time=time,
        )
        report = ExportReport(
            target=target,
            path=path if comparison.passed else failed,
            sha256=hashlib.sha256(draft.read_bytes()).hexdigest(),
            bytes=draft.stat().st_size,
            comparison=comparison,
            measured=measured,
            predicted_ms=predicted_ms,
            device=device,
            threads=threads,
            versions={name: version(name) for name in _PACKAGES},
            peak_memory_bytes=peak_memory_bytes(model),
            quantization=quantization,
        )
        move(draft, report.path)
    if not comparison.passed:
        raise ComparisonFailed(report)
    failed.unlink(missing_ok=True)  # of an earlier try; beside a good artefact it would only mislead
    return report


def check_images(images_NCHW: Tensor, target: ExportTarget) -> None:
    """Raise UnusableInput for images that the target does not take."""
    shape = list(images_NCHW.shape)
    if len(shape) != 4 or shape[0] < 1 or tuple(shape[1:]) != target.input_nchw[1:]:
        raise UnusableInput(f"images have shape {shape}; the target needs [N, {str(list(target.input_nchw[1:]))[1:]}")
    if target.dynamic_batch and shape[0] < MIN_DYNAMIC_IMAGES:
        raise UnusableInput(f"{shape[0]} images cannot test a dynamic batch; give at least {MIN_DYNAMIC_IMAGES}")
    if images_NCHW.dtype != torch.float32:
        raise UnusableInput(f"images are {images_NCHW.dtype}; preprocess them to torch.float32 first")
    if not bool(images_NCHW.isfinite().all()):
        raise UnusableInput("images hold NaN or infinity, with which nothing can be compared; leave those images out")


# ruff: noqa: N803 - a tensor's name ends in its shape.


Array = npt.NDArray[Any]


def examine(
    path: Path,
    images_NCHW: Array,
    reference: Mapping[str, Array],
    *,
    target: ExportTarget,
    preprocess: Preprocess,
    threads: int,
    time: bool,
) -> tuple[Comparison, Latency | None]:
    """Compare an artefact with torch and, where it is right, time it.

    Args:
        path: the artefact, an ``.onnx`` or ``.ort`` file.
        images_NCHW: preprocessed images.
        reference: torch's outputs for them.
        target: what the artefact should be.
        preprocess: how the images were made of pixels, for an artefact that takes pixels.
        threads: of the runtime.
        time: measure one call at the target's batch size.

    Raises:
        InvalidGraph: the runtime cannot run it.
        UnusableInput: the artefact takes pixels, and no pixels give these images.
    """
    fed = to_pixels(images_NCHW, preprocess) if target.uint8_input else images_NCHW
    try:
        with OnnxRunner(path, threads=threads) as runner:
            candidate = artefact_outputs(runner, fed, target)
        comparison = compare_outputs(reference, candidate, target.tolerance)
        if not (time and comparison.passed):
            return comparison, None
        # The way whole networks are timed for the latency tables, so that both times mean the same.
        measured = _timed(path, fed, target, threads)
    except Exception as error:  # the runtime's own errors share no base; all say that it cannot run this graph
        reason = " ".join(str(error).split())
        raise InvalidGraph(f"ONNX Runtime cannot run the artefact: {reason}; change the layer it names") from error
    return comparison, measured


def time_again(report: ExportReport, images_NCHW: Array) -> ExportReport:
    """The report with the quieter of its time and one taken now: a machine that is busy for a second makes all late.

    Args:
        report: of an artefact that was timed and lies where it was written.
        images_NCHW: what it takes, preprocessed.
    """
    now = _timed(report.path, images_NCHW, report.target, report.threads)
    then = report.measured or now
    return replace(report, measured=min(then, now, key=lambda latency: latency.median_ms))


def _timed(path: Path, fed: Array, target: ExportTarget, threads: int) -> Latency:
    inputs = {"input": np.resize(fed, (target.input_nchw[0], *fed.shape[1:]))}
    (measured,) = time_runners([(lambda: OnnxRunner(path, threads=threads), inputs)])
    return measured
