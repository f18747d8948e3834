"""Deliver: everything that one kind of device gets, each artefact compared and timed, the wrong ones set aside."""

# ruff: noqa: N803 - a tensor's name ends in its shape.

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt
from torch import Tensor, nn

from export.artefact import check_images, examine, export
from export.errors import ComparisonFailed, InvalidGraph
from export.formats.onnx_file import read_preprocess
from export.formats.ort import to_ort
from export.formats.triton import triton_repository
from export.targets import Delivery, check_target, with_precision
from export.tensorrt.try_engine import Tried, engine_of
from export.types import ExportReport, ExportTarget
from export.verify.drift import MOST, measure_drift
from export.verify.outputs import torch_outputs
from hardware_profiles.types import Precision

Array = npt.NDArray[Any]

# Smallest, usual and largest batch of an engine, and the largest that a server may form.
ENGINE_BATCH = (1, 8, 32)
_FILES: Mapping[Precision, str] = {"fp32": "model.onnx", "fp16": "model_fp16.onnx", "int8": "model_int8.onnx"}


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """What was made for a kind of device.

    Args:
        reports: of the artefacts that passed; fp32 first.
        failed: of those that differ from torch; their files are called ``*.failed.*``.
        refused: sentences about what could not be made or did not pass.
        others: files and folders without a report: engines and their sidecars, a Triton repository.
        notes: sentences about what the user should know.
        drift: how far the calibration images are from those the network's statistics are of.
        engines: reports of engines that ran on a GPU here and passed; their times are that GPU's.
    """

    reports: tuple[ExportReport, ...]
    failed: tuple[ExportReport, ...]
    refused: tuple[str, ...]
    others: tuple[Path, ...]
    notes: tuple[str, ...]
    drift: float | None
    engines: tuple[ExportReport, ...] = ()

    @property
    def recommended(self) -> ExportReport | None:
        """The fastest of the artefacts that passed; None where none was timed."""
        return fastest(self.reports)


def fastest(reports: tuple[ExportReport, ...]) -> ExportReport | None:
    """The report with the smallest median; None where none was timed."""
    timed = [(report.measured.median_ms, i) for i, report in enumerate(reports) if report.measured is not None]
    return reports[min(timed)[1]] if timed else None


def deliver(
    module: nn.Module,
    images_NCHW: Tensor,
    *,
    target: ExportTarget,
    delivery: Delivery,
    out: Path,
    name: str,
    metadata: Mapping[str, str],
    device: str,
    threads: int,
    calibration_NCHW: Tensor | None = None,
    predicted_ms: float | None = None,
    time: bool = True,
    simplify: bool = True,
    min_agreement: float | None = None,
    most_drift: float = MOST,
    say: Callable[[str], None] = lambda line: None,
) -> Delivered:
    """Make, compare and time all artefacts of ``delivery`` in the folder ``out``.

    Args:
        module: in eval mode, as for ``export``.
        images_NCHW: real images for the comparison, as for ``export``.
        target: shape, opset, batch and input of all of them.
        delivery: which artefacts.
        out: a folder.
        name: the model's, for a server.
        metadata: what ``metadata_props`` returns, and more if wanted.
        device: the id of the device this runs on.
        threads: of the runtime.
        calibration_NCHW: other real images, for int8.
        predicted_ms: what the latency table said of the fp32 network.
        time: measure each artefact.
        simplify: let onnxslim remove what the graphs do not need.
        min_agreement: share of images on which int8 must see what torch sees; None takes the target's.
        most_drift: of the calibration images, beyond which they are said to look different.
        say: receives one line for each thing that happened.

    Raises:
        UnsupportedTarget: an option that cannot be made.
        UnusableInput: a module, images or metadata that do not fit.
        WriteFailed: the folder cannot be written.
    """
    check_target(target)
    check_images(images_NCHW, target)
    drift = None if calibration_NCHW is None else measure_drift(module, calibration_NCHW)
    notes = _drift_notes(drift, most_drift)
    for line in notes:
        say(line)
    reports: list[ExportReport] = []
    failed: list[ExportReport] = []
    refused: list[str] = []
    reference = torch_outputs(module, images_NCHW)
    for precision in delivery.precisions:
        try:
            report = export(
                module,
                images_NCHW,
                target=_aim(target, precision, min_agreement),
                path=out / _FILES[precision],
                metadata=metadata,
                predicted_ms=predicted_ms if precision == "fp32" else None,
                device=device,
                threads=threads,
                time=time,
                simplify=simplify,
                calibration_NCHW=calibration_NCHW,
                reference=reference,
            )
        except ComparisonFailed as error:
            failed.append(error.report)
            refused.append(_sentence(error.report))
        except InvalidGraph as error:
            refused.append(f"{precision}: {error}")
        else:
            reports.append(replace(report, notes=_report_notes(report, reports, delivery)))
            say(line_of(reports[-1]))
    tried = Tried()
    if delivery.engine and reports:
        tried = engine_of(
            reports[-1],  # the smallest graph
            images_NCHW.detach().cpu().numpy(),
            reference,
            out=out / "model.engine",
            batch=ENGINE_BATCH if target.dynamic_batch else None,
            preprocess=read_preprocess(metadata),
            time=time,
        )
        refused += tried.refused
    engines = tuple(report for report in [tried.report] if report is not None and report.comparison.passed)
    failed += [report for report in [tried.report] if report is not None and not report.comparison.passed]
    for report in engines:
        say(line_of(report))
    served = _served(reports, target, out, name) if delivery.triton else ()
    if delivery.ort:
        more_reports, more_refused = _as_ort(reports, images_NCHW, reference, metadata, time)
        reports += more_reports
        refused += more_refused
        for report in more_reports:
            say(line_of(report))
    for line in (*refused, *tried.notes):
        say(line)
    return Delivered(
        reports=tuple(reports),
        failed=tuple(failed),
        refused=tuple(refused),
        others=(*tried.files, *served),
        notes=(*notes, *tried.notes),
        drift=drift,
        engines=engines,
    )


def _aim(target: ExportTarget, precision: Precision, min_agreement: float | None) -> ExportTarget:
    aim = with_precision(target, precision)
    if precision != "int8" or min_agreement is None:
        return aim
    return replace(aim, tolerance=replace(aim.tolerance, min_agreement=min_agreement))


def _sentence(report: ExportReport) -> str:
    """Without the folder: the file may move, and the report is published."""
    return str(ComparisonFailed(replace(report, path=Path(report.path.name))))


def line_of(report: ExportReport) -> str:
    """One artefact on one line."""
    measured = "not timed" if report.measured is None else f"{report.measured.median_ms:.3f} ms"
    seen = report.comparison.agreement
    agreement = "" if seen is None else f", agreement {100 * seen:.1f} %"
    cosine = min(output.min_cosine for output in report.comparison.outputs)
    notes = "".join(f"; {note}" for note in report.notes)
    return f"{report.path.name}: {report.bytes / 1e6:.2f} MB, {measured}, cosine {cosine:.6f}{agreement}{notes}"


def _is_blind(report: ExportReport) -> bool:
    """A detector which saw nothing in the images, in torch and in the artefact alike."""
    names = {output.output for output in report.comparison.outputs}
    return {"boxes", "scores"} <= names and report.comparison.box_agreement is None


def _drift_notes(drift: float | None, most: float) -> tuple[str, ...]:
    if drift is None or drift <= most:
        return ()
    return (
        f"the calibration images look different from those the network was made for: its channels' means move by"
        f" {drift:.2f} standard deviations (up to {most:g} is usual); give images like those it will see",
    )


def _report_notes(report: ExportReport, before: list[ExportReport], delivery: Delivery) -> tuple[str, ...]:
    notes = []
    if (how := report.quantization) is not None:
        notes.append(f"int8 in {how.int8_layers} of {how.layers} layers, {100 * how.int8_weights:.0f} % of the weights")
    if report.measured and before and before[0].measured and report.measured.median_ms > before[0].measured.median_ms:
        ratio = report.measured.median_ms / before[0].measured.median_ms
        notes.append(f"takes {ratio:.2f} times as long as {before[0].target.precision} here: not recommended")
    if _is_blind(report):
        notes.append("nothing was detected in the images: what the task sees is not comparable")
    limit, peak = delivery.memory_limit_bytes, report.peak_memory_bytes
    if limit is not None and peak is not None and peak > limit:
        notes.append(f"needs {peak / 2**20:.1f} MiB, more than the {limit / 2**20:.0f} MiB of such a device")
    return tuple(notes)


def _as_ort(
    reports: Sequence[ExportReport],
    images_NCHW: Tensor,
    reference: Mapping[str, Array],
    metadata: Mapping[str, str],
    time: bool,
) -> tuple[list[ExportReport], list[str]]:
    """Each artefact as an ``.ort`` file beside it, compared and timed like it; and sentences on what failed."""
    made: list[ExportReport] = []
    refused: list[str] = []
    for report in reports:
        target = replace(report.target, format="ort")
        try:
            path = to_ort(report.path, report.path.with_suffix(".ort"))
            comparison, measured = examine(
                path,
                images_NCHW.detach().cpu().numpy(),
                reference,
                target=target,
                preprocess=read_preprocess(metadata),
                threads=report.threads,
                time=time,
            )
        except InvalidGraph as error:
            refused.append(f"ort: {error}")
            continue
        if not comparison.passed:
            path.unlink()
            refused.append(f"ort: {path.name} does not compute what {report.path.name} does; keep the .onnx file")
            continue
        content = path.read_bytes()
        found = replace(report, target=target, path=path, comparison=comparison, measured=measured)
        digest = hashlib.sha256(content).hexdigest()
        made.append(replace(found, sha256=digest, bytes=len(content), predicted_ms=None, notes=()))
    return made, refused


def _served(reports: Sequence[ExportReport], target: ExportTarget, out: Path, name: str) -> tuple[Path, ...]:
    """A Triton repository of the exact artefact, where there is one."""
    if not reports:
        return ()
    served = "".join(c if c.isalnum() or c in "._@-" else "-" for c in name)
    largest = ENGINE_BATCH[2] if target.dynamic_batch else 0
    return (triton_repository(reports[0].path, out / "triton", name=served, max_batch=largest),)
