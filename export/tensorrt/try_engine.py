"""Make the engine of an artefact and try it where it can run: compare it with torch, time it there."""

# ruff: noqa: N803 - a tensor's name ends in its shape.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.errors import ComparisonFailed, InvalidGraph, MissingBackend
from export.graph.pixels import to_pixels
from export.tensorrt.build import build_engine
from export.tensorrt.engine_file import EngineFile, find_gpu, sidecar_of
from export.tensorrt.runner import EngineRunner
from export.types import ExportReport, Preprocess
from export.verify.compare import compare_outputs
from export.verify.outputs import artefact_outputs
from hardware_profiles.measure.probe import slug

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What became of an engine.

    Args:
        report: where it ran here, passed or not.
        files: the engine and its sidecar, to be delivered.
        refused: a sentence where it could not be made or is wrong.
        notes: sentences about what its user should know.
    """

    report: ExportReport | None = None
    files: tuple[Path, ...] = ()
    refused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def engine_of(
    graph: ExportReport,
    images_NCHW: Array,
    reference: Mapping[str, Array],
    *,
    out: Path,
    batch: tuple[int, int, int] | None,
    preprocess: Preprocess,
    time: bool,
) -> Tried:
    """Build the engine of ``graph`` at ``out`` and try it; a wrong one is renamed to ``<stem>.failed.engine``.

    Arguments are those of ``build_engine`` and ``try_engine``.
    """
    try:
        engine = build_engine(graph.path, out, batch=batch)
        report = try_engine(engine, graph, images_NCHW, reference, preprocess=preprocess, time=time)
    except MissingBackend as error:
        return Tried(notes=(f"no TensorRT engine: {error}",))
    except InvalidGraph as error:
        for path in (out, sidecar_of(out)):
            path.unlink(missing_ok=True)
        return Tried(refused=(f"engine: {error}",))
    if report is None:
        built_for = engine.gpu or ", ".join(engine.compute_capabilities)
        note = f"{out.name} ({engine.precision}) was built for {built_for} and did not run here"
        return Tried(files=(out, sidecar_of(out)), notes=(note,))
    if not report.comparison.passed:
        report = replace(report, path=out.rename(out.with_name(f"{out.stem}.failed{out.suffix}")))
        sidecar_of(out).unlink()
        sentence = str(ComparisonFailed(replace(report, path=Path(report.path.name))))
        return Tried(report=report, refused=(sentence,))
    return Tried(report=report, files=(out, sidecar_of(out)))


def try_engine(
    engine: EngineFile,
    graph: ExportReport,
    images_NCHW: Array,
    reference: Mapping[str, Array],
    *,
    preprocess: Preprocess,
    time: bool,
) -> ExportReport | None:
    """Compare an engine with torch and, where it is right, time it by CUDA events at the graph's batch size.

    Args:
        engine: just built, by this process.
        graph: of the ONNX file that it was built from.
        images_NCHW: preprocessed images.
        reference: torch's outputs for them.
        preprocess: how the images were made of pixels, for an engine that takes pixels.
        time: measure it.

    Returns:
        Its report, passed or not; None on a machine without a GPU that the engine is for.

    Raises:
        InvalidGraph: the library built the engine and cannot run it.
    """
    gpu = find_gpu()
    if gpu is None or gpu.compute_capability not in engine.compute_capabilities:
        return None
    fed = to_pixels(images_NCHW, preprocess) if graph.target.uint8_input else images_NCHW
    try:
        with EngineRunner(engine.path, onnx=graph.path, trusted=True) as runner:  # built a moment ago
            comparison = compare_outputs(reference, artefact_outputs(runner, fed, graph.target), graph.target.tolerance)
            usual = {"input": np.resize(fed, (graph.target.input_nchw[0], *fed.shape[1:]))}
            measured = runner.time(usual) if time and comparison.passed else None
    except Exception as error:  # the library's own errors share no base; all say that it cannot run this engine
        reason = " ".join(str(error).split())
        raise InvalidGraph(f"{engine.backend} cannot run {engine.path.name} on {gpu.name}: {reason}") from error
    return replace(
        graph,
        target=replace(graph.target, format="engine"),
        path=engine.path,
        sha256=engine.sha256,
        bytes=engine.bytes,
        comparison=comparison,
        measured=measured,
        predicted_ms=None,
        device=slug(gpu.name),
        threads=1,
        versions={engine.backend: engine.backend_version, "driver": gpu.driver},
        peak_memory_bytes=None,
        notes=(),
    )
