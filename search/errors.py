"""What can go wrong in this package, for the person at the keyboard: one line with the value, the limit and the fix.

SearchError
├── NotEnoughImages      the folder holds too few usable images
├── NotEnoughMemory      the images would not fit
├── BadLabels            sub-folders that do not say of which class each image is
├── InfeasibleBudget     no network of the space meets the budget
├── BadSupernet          the weights are missing, damaged, or belong to another net
├── WrongTable           the latency table is of another net or resolution
├── TrainingError        a supernet cannot be trained, or not any further
├── ProcessLost          of the processes that share a training one ended before its time
├── Preempted            SIGTERM came; a checkpoint was kept
├── WriteFailed          a file cannot be written
├── MissingEngine        what is to run the jobs is not installed
├── BadGenotype          a cell that is not of the DARTS space, or its file is damaged
└── BadArchitecture      the choices are not a point of the net's space
"""

# ruff: noqa: N818 - the names say the condition; "Error" would add nothing where they are caught.

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Decimal

from search.types import Architecture


class SearchError(Exception):
    """Any failure of this package that its user can mend."""


class NotEnoughImages(SearchError):
    """The folder is missing, is empty, or holds too few images that can be read."""


class NotEnoughMemory(SearchError):
    """The images would not fit in the memory that is free."""


class BadLabels(SearchError):
    """The sub-folders do not say of which class each image is: none, one, or others than in training."""


class InfeasibleBudget(SearchError):
    """No network of the space meets the budget.

    Args:
        asked: the limit that cannot be met.
        reachable: the same cost of the network that comes nearest.
        unit: of both, e.g. ``ms``.
        nearest: that network.
        device: id of the device, where several are asked for.
    """

    def __init__(
        self, *, asked: float, reachable: float, unit: str, nearest: Architecture, device: str | None = None
    ) -> None:
        self.asked = asked
        self.reachable = reachable
        self.unit = unit
        self.nearest = nearest
        where = f" on {device}" if device else ""
        super().__init__(
            f"no network meets {asked:g} {unit}{where}; the smallest {nearest.net} at {nearest.resolution_px} px takes"
            f" {rounded_up(reachable, unit)}: ask for at least that, or for a lower resolution"
        )


def rounded_up(cost: float, unit: str) -> str:
    """At least ``cost``, with the unit that a budget has: following the advice must work."""
    if unit == "ms":
        return f"{_decimal(cost, 3 if cost >= 0.1 else 6)} ms"
    if unit == "MACs":
        return f"{_decimal(cost / 1e6, 2)} mmacs"
    if unit == "parameters":
        return f"{math.ceil(cost / 1e3):d}k parameters ({_decimal(4 * cost / 1e6, 2)} mb)"
    return f"{math.ceil(cost / 1e3):d}k {unit}"


def _decimal(value: float, digits: int) -> str:
    """Rounded up to so many digits behind the point; no digit before it is lost, as it would be with ``:g``."""
    return str(Decimal(str(value)).quantize(Decimal(1).scaleb(-digits), ROUND_CEILING).normalize().__format__("f"))


class BadSupernet(SearchError):
    """The supernet's weights are missing, damaged, or do not fit the net."""


class WrongTable(SearchError, ValueError):
    """The latency table is of another net or of another resolution than the search."""


class TrainingError(SearchError):
    """A supernet cannot be trained, or not any further: the images, the checkpoint or the loss is unusable."""


class ProcessLost(SearchError):
    """Of the processes that share a training another ended before its time, or had ended before."""


class Preempted(SearchError):
    """The process was asked to end, and kept a checkpoint before it did."""


class WriteFailed(SearchError):
    """A file cannot be written: the disk is full, or the folder does not allow it."""


class MissingEngine(SearchError):
    """What is to run the jobs of a study is not installed."""


class BadGenotype(SearchError, ValueError):
    """A cell that is not of the DARTS space, or whose file is damaged or of another space."""


class BadArchitecture(SearchError, ValueError):
    """The choices are not a point of the net's space."""
