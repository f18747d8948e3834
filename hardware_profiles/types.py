"""The values of this package: what a block is, how long it takes, on which device, and how well the sum predicts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["point", "edge", "mobile", "cloud"]
Precision = Literal["fp32", "fp16", "int8"]
Source = Literal["measured", "published", "fitted", "estimated"]


@dataclass(frozen=True, kw_only=True, order=True)
class OpKey:
    """One block of a network at one input size: the unit that a latency table times.

    Args:
        kind: the block's family, e.g. ``stem``, ``mbconv``, ``bottleneck``, ``head``.
        c_in: input channels.
        c_out: output channels.
        kernel: side of the (largest) convolution kernel, in pixels.
        stride: spatial stride.
        expand: expansion of the hidden channels (1 where there is none).
        groups: groups of the pointwise convolutions.
        height_px: height of the input map.
        width_px: width of the input map.
    """

    kind: str
    c_in: int
    c_out: int
    kernel: int = 1
    stride: int = 1
    expand: int = 1
    groups: int = 1
    height_px: int
    width_px: int

    def __str__(self) -> str:
        """For people: ``mbconv 16>24 k5 s2 e6 g1 @32x32``."""
        return (
            f"{self.kind} {self.c_in}>{self.c_out} k{self.kernel} s{self.stride} e{self.expand} g{self.groups}"
            f" @{self.height_px}x{self.width_px}"
        )


@dataclass(frozen=True, kw_only=True)
class Latency:
    """How long something took, in milliseconds, over ``samples`` timed calls."""

    median_ms: float
    p90_ms: float
    samples: int

    def __post_init__(self) -> None:
        """Refuse times that no clock can give."""
        for name in ("median_ms", "p90_ms"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value}; a latency is a finite number of milliseconds >= 0")
        if self.samples < 1:
            raise ValueError(f"samples is {self.samples}; a latency needs at least 1")


@dataclass(frozen=True, kw_only=True)
class DeviceProfile:
    """Where a number was measured: the machine, its runtime and how it was used."""

    id: str
    kind: Kind
    chip: str
    memory_bytes: int
    runtime: str
    runtime_version: str
    precision: Precision
    batch: int
    threads: int
    source: Source
    reference: str
    license: str


@dataclass(frozen=True, kw_only=True)
class Validation:
    """How well the table predicts whole networks that were not used to make it; see ``calibrate.validate``."""

    networks: int
    mape_percent: float
    within_5_percent: float
    within_10_percent: float
    bias_percent: float
    kendall_tau: float
    spearman_rho: float | None = None
    median_percent: float | None = None


@dataclass(frozen=True, kw_only=True)
class Check:
    """A network that validated a table: what the table says and what the device took."""

    predicted_ms: float
    measured_ms: float


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """That a table was carried over from another resolution, and how far off that was where both are known.

    Args:
        from_px: side of the input that the times were taken at.
        mape_percent: mean error of the same step on a device with tables at both resolutions; None: nobody knows.
        seen_on: that device's id; empty where there is none.
    """

    from_px: int
    mape_percent: float | None = None
    seen_on: str = ""


@dataclass(frozen=True, kw_only=True)
class TableHead:
    """All of a latency table but its blocks: what it is of, how good it is, what a network costs beyond its blocks.

    ``resolution_px`` is the side of the input; ``width_px`` is its width where that is not its height, else None.
    """

    device: DeviceProfile
    net: str
    resolution_px: int
    overhead_ms: float
    scale: float
    validation: Validation | None
    measured_at: str
    scaling: Scaling | None = None
    width_px: int | None = None

    @property
    def size_text(self) -> str:
        """``224``, or width and height: ``320x192``."""
        return size_text(self.resolution_px, self.width_px)


def size_text(height_px: int, width_px: int | None) -> str:
    """The size of an input as people write it: ``224``, or width and height: ``320x192``."""
    return str(height_px) if width_px in (None, height_px) else f"{width_px}x{height_px}"


@dataclass(frozen=True, kw_only=True)
class LatencyTable(TableHead):
    """Block times of one net at one resolution on one device; a network's estimate is ``overhead_ms + scale * sum``.

    Args:
        entries: the time of each block.
        checks: some of the networks that validated the table, for a plot.
    """

    entries: Mapping[OpKey, Latency] = field(hash=False)
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CostModel(TableHead):
    """What a device takes for each unit of work, from times of other people's networks; it prices any block.

    ``net`` is ``any`` and ``resolution_px`` is 0. Validated by leaving out one model after the other.

    Args:
        terms: milliseconds of one unit of each term of ``fit.public``; a block's time is their sum.
        mobile_validation: on the networks that are made of depthwise convolutions alone, as ours are.
        made_by: the command.
        checks: some of the networks that validated it, for a plot.
    """

    terms: Mapping[str, float] = field(hash=False)
    mobile_validation: Validation | None
    made_by: str
    checks: tuple[Check, ...] = ()
