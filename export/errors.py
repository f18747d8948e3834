"""What can go wrong while an artefact is made; every message is one line with the value, the limit and the fix.

ExportError
├── UnsupportedTarget   a target, or an option of one, that cannot be made (yet)
├── UnusableInput       the module, the images or the metadata do not fit the target
├── InvalidGraph        the exporter, the simplifier or the runtime rejects the graph
├── WriteFailed         the artefact could not be written; nothing was left behind
├── MalformedReport     a stored report that this version cannot read
├── MissingBackend      TensorRT, or the GPU that it builds for, is not there
├── EngineRefused       an engine that was not built here, for this, or from this; it is never loaded
└── ComparisonFailed    the artefact's outputs are not torch's outputs; the command line exits with 4
"""

# ruff: noqa: N818 - the names say the condition; "Error" would add nothing where they are caught.

from __future__ import annotations

import math

from export.types import ExportReport


class ExportError(Exception):
    """The base of all errors of this package."""


class UnsupportedTarget(ExportError):
    """A target, or an option of one, that cannot be made (yet)."""


class UnusableInput(ExportError):
    """The module, the images or the metadata do not fit the target."""


class InvalidGraph(ExportError):
    """The exporter, the simplifier or the runtime rejects the graph."""


class WriteFailed(ExportError):
    """The artefact could not be written; nothing was left behind."""


class MalformedReport(ExportError):
    """A stored report that this version cannot read."""


class MissingBackend(ExportError):
    """TensorRT, or the GPU that it builds for, is not there."""


class EngineRefused(ExportError):
    """An engine that was not built here, for this machine, or from this graph; it is never loaded."""


class ComparisonFailed(ExportError):
    """The artefact's outputs are not torch's outputs; ``report.path`` is the artefact, kept to be looked at."""

    def __init__(self, report: ExportReport) -> None:
        self.report = report
        super().__init__(_sentence(report))


def _sentence(report: ExportReport) -> str:
    artefact = f"{report.path} differs from torch on {report.comparison.images} images"
    return f"{artefact}: {_worst(report)}; do not deploy it; {_fix(report)}"


def _worst(report: ExportReport) -> str:
    limits, seen = report.target.tolerance, report.comparison.agreement
    worst = max(report.comparison.outputs, key=lambda output: (output.relative_l2, -output.min_cosine))
    if worst.min_cosine < limits.min_cosine or worst.relative_l2 > limits.max_relative_l2:
        if not math.isfinite(worst.relative_l2):
            return f"output {worst.output!r} is missing, of another shape, not finite or all zero in one of the two"
        return (
            f"output {worst.output!r} has cosine {worst.min_cosine:.6f} (at least {limits.min_cosine:g})"
            f" and relative L2 {worst.relative_l2:.2g} (at most {limits.max_relative_l2:g})"
        )
    lowest = min(report.comparison.outputs, key=lambda output: output.min_cosine)
    if lowest.min_cosine < limits.min_cosine:
        return f"output {lowest.output!r} has cosine {lowest.min_cosine:.6f} (at least {limits.min_cosine:g})"
    return f"the task sees the same in {100 * (seen or 0):.1f} % of it (at least {100 * limits.min_agreement:g} %)"


def _fix(report: ExportReport) -> str:
    if report.target.precision == "fp32":
        return "export again without simplifying, or look there for the layer that differs"
    if report.target.precision == "fp16":
        return "export fp32, or look there for values beyond what fp16 holds"
    return "give more calibration images like those it will see, or export fp32"
