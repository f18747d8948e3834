"""Bounds on what a package says of itself: numbers that size time and memory, and hashes of its evidence.

A stranger wrote them. What decides that a package is right, and how much is spent on finding out, is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping

from export.types import ExportReport
from zoo.checks import MOST_THREADS
from zoo.errors import BadPackage
from zoo.package.manifest import Digest
from zoo.types import ModelCard

# Sides of an input; networks of the zoo take 320 px at most.
MOST_PX = 1024
MOST_BATCH = 256


def check_bounds(card: ModelCard, manifest: Mapping[str, Digest]) -> None:
    """Refuse a card whose numbers are out of bounds, or whose evidence is of other files.

    Raises:
        BadPackage: the first number that is wrong, with its limit.
    """
    size_px = card.preprocess.size_px
    if max(size_px) > MOST_PX:
        raise BadPackage(f"preprocessing makes {_size(size_px)} px; at most {MOST_PX} px are made: get another package")
    side_px = card.architecture.resolution_px
    if size_px[0] != side_px:
        raise BadPackage(f"preprocessing makes {_size(size_px)} px for a network of {side_px} px; get it again")
    for report in card.reports:
        _check_report(report, size_px, manifest)


def _check_report(report: ExportReport, size_px: tuple[int, int], manifest: Mapping[str, Digest]) -> None:
    path = report.path.as_posix()
    digest = manifest.get(path)
    if digest is None or (digest.sha256, digest.bytes) != (report.sha256, report.bytes):
        raise BadPackage(f"the evidence for {path} is of another file; get the package again")
    batch, channels, *sides_px = report.target.input_nchw
    if channels != 3 or tuple(sides_px) != size_px or not 1 <= batch <= MOST_BATCH:
        raise BadPackage(
            f"the evidence for {path} speaks of input {list(report.target.input_nchw)}; the package's is"
            f" [1 to {MOST_BATCH}, 3, {size_px[0]}, {size_px[1]}]: get the package again"
        )
    if not 1 <= report.threads <= MOST_THREADS:
        raise BadPackage(f"the evidence for {path} speaks of {report.threads} threads; at most {MOST_THREADS} are used")


def _size(size_px: tuple[int, int]) -> str:
    return "x".join(str(side) for side in size_px)
