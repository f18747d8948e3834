"""What can go wrong with devices and their latency tables; every message is one line with the value and the fix.

ProfileError
├── BadProfile      a table's file that is malformed, or a table that no file could hold
├── BadOp           text that names no block
├── UnknownDevice   no table of a device with this name; the three nearest names
├── MissingTable    the device is known, but not for this net at this resolution
├── MissingOp       the table does not time this block; the nearest one that it does time
├── BadTimes        times of whole networks that no table can be made from
├── MissingRuntime  it is not installed, has no device, or does not compute in this precision
├── BadKit          a device kit's result, or a started measurement, that is malformed or of something else
├── NoisyMachine    other work runs beside the measurement
└── MeasureFailed   a block or a network could not be timed
"""

# ruff: noqa: N818 - the names say the condition; "Error" would add nothing where they are caught.

from __future__ import annotations

import difflib
from collections.abc import Sequence

from hardware_profiles.types import LatencyTable, OpKey


class ProfileError(Exception):
    """The base of all errors of this package."""


class BadProfile(ProfileError):
    """A table's file that is malformed, or a table that no file could hold."""


class BadOp(ProfileError, ValueError):
    """Text that names no block."""


class UnknownDevice(ProfileError):
    """No table of a device with this name; ``nearest`` holds up to three that exist."""

    def __init__(self, name: str, known: Sequence[str], *, alias_of: str | None = None) -> None:
        self.name = name
        self.nearest = tuple(difflib.get_close_matches(name, known, n=3, cutoff=0.0))
        what = f"device {name!r}" + (f" stands for {alias_of!r}, which" if alias_of else "")
        there = f"nearest: {', '.join(self.nearest)}" if self.nearest else "none is there yet"
        super().__init__(f"{what} has no latency table; {there}; measure this machine: zoo devices measure")


class MissingTable(ProfileError):
    """The device is known, but not for this net at this resolution."""

    def __init__(self, device_id: str, net: str, size_px: int | str, found: Sequence[str]) -> None:
        has = f"it has {', '.join(found)}" if found else "it has none"
        super().__init__(
            f"device {device_id!r} has no table of {net} at {size_px} px; {has};"
            f" on that device run: {measure_command(net, size_px)}"
        )


class MissingOp(ProfileError):
    """The table does not time this block; ``nearest`` is the most similar one that it does time."""

    def __init__(self, op: OpKey, table: LatencyTable, nearest: OpKey | None) -> None:
        self.op = op
        self.nearest = nearest
        classes = f" --classes {op.c_out}" if op.kind.endswith("_predict") else ""
        super().__init__(
            f"the table of {table.net} at {table.size_text} px on {table.device.id} has no time for {op}"
            f" (nearest: {nearest or 'none'}); measure it: {measure_command(table.net, table.size_text)}{classes}"
        )


class BadTimes(ProfileError):
    """Times of whole networks that no table can be made from."""


class MissingRuntime(ProfileError):
    """The runtime is not installed, has no device, or does not compute in this precision."""


class BadKit(ProfileError):
    """A device kit's result, or a started measurement, that is malformed or of something else."""


class NoisyMachine(ProfileError):
    """Other work runs beside the measurement, and every number would be too large by an unknown amount."""


class MeasureFailed(ProfileError):
    """A block or a network could not be timed."""


def measure_command(net: str, size_px: int | str) -> str:
    """What a user types to time every block of a net on the machine at hand."""
    return f"zoo devices measure --net {net} --resolution {size_px}"
