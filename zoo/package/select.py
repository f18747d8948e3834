"""Wanted: which of a package's artefacts somebody asks for, and the files that these need."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from export.types import ExportReport
from zoo.errors import UnknownName
from zoo.names import shown
from zoo.package.manifest import ENGINES


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A choice among artefacts; None takes all.

    Args:
        target: ``point``, ``edge`` or ``cloud``.
        precision: ``fp32``, ``fp16`` or ``int8``.
        device: the id of the device that the artefact's times hold for.
    """

    target: str | None = None
    precision: str | None = None
    device: str | None = None

    def __str__(self) -> str:
        """For people."""
        asked = {"target": self.target, "precision": self.precision, "device": self.device}
        return ", ".join(f"{part} {shown(value)}" for part, value in asked.items() if value is not None) or "all"

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return self == Wanted()

    def among(self, reports: Iterable[ExportReport]) -> tuple[ExportReport, ...]:
        """The reports of the artefacts that are wanted.

        Raises:
            UnknownName: there is none such; those that there are.
        """
        reports = tuple(reports)
        chosen = tuple(report for report in reports if self._wants(report))
        if not chosen:
            there = sorted({f"{r.target.name} {r.target.precision} for {shown(r.device)}" for r in reports})
            raise UnknownName(f"the package has no artefact for {self}; it has {', '.join(there[:6])}")
        return chosen

    def _wants(self, report: ExportReport) -> bool:
        pairs = (
            (self.target, report.target.name),
            (self.precision, report.target.precision),
            (self.device, report.device),
        )
        return all(asked in (None, found) for asked, found in pairs)


ALL = Wanted()


def files_of(artefacts: Iterable[ExportReport], manifest: Iterable[str]) -> set[str]:
    """The artefacts' files and those that stand beside them under the same name, such as an engine's sidecar."""
    stems = {str(PurePosixPath(report.path.as_posix()).with_suffix("")) for report in artefacts}
    return {file for file in manifest if str(PurePosixPath(file).with_suffix("")) in stems}


def is_engine(file: str) -> bool:
    """Whether a file is code for one GPU, which is only ever used where it was built."""
    return PurePosixPath(file).suffix in ENGINES
