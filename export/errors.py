"""What can go wrong while an artefact is made; every message is one line with the value, the limit and the fix.

ExportError
├── UnsupportedTarget   a target, or an option of one, that cannot be made (yet)
├── UnusableInput       the module, the images or the metadata do not fit the target
├── InvalidGraph        the exporter, the simplifier or the runtime rejects the graph
├── WriteFailed         the artefact could not be written; nothing was left behind
├── MalformedReport     a stored report that this version cannot read
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


class ComparisonFailed(ExportError):
    """The artefact's outputs are not torch's outputs; ``report.path`` is the artefact, kept to be looked at."""

    def __init__(self, report: ExportReport) -> None:
        self.report = report
        super().__init__(_sentence(report))


def _sentence(report: ExportReport) -> str:
    limits = report.target.tolerance
    worst = max(report.comparison.outputs, key=lambda output: output.relative_l2)
    found = (
        f"has cosine {worst.min_cosine:.6f} (at least {limits.min_cosine:g})"
        f" and relative L2 {worst.relative_l2:.2g} (at most {limits.max_relative_l2:g})"
        if math.isfinite(worst.relative_l2)
        else "is missing, of another shape, not finite or all zero in one of the two, so nothing supports it"
    )
    return (
        f"output {worst.output!r} of {report.path} differs from torch on {report.comparison.images} images: it {found};"
        f" do not deploy it; export again without simplifying, or look there for the layer that differs"
    )
