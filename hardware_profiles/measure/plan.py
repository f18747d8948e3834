"""Plan: what has to be timed for one latency table, by name, and the table that the times make.

A block that is timed alone pays for things that it does not pay for inside a network: the call into the runtime, and
the conversion of its maps into the runtime's own memory layout (and to int8) and back. An empty block, one 1x1
depthwise convolution, pays for the same and computes next to nothing; so the time of the empty block is taken off, the
mean of those at the block's input shape and at its output shape. Along a network what that mean gets wrong at a border
cancels: it is taken off too much on one side and too little on the other.

In int8, and beside blocks as light as a cell's operations, the empty block's own convolution is not next to nothing.
There its time, that of two in a row less that of one, is not taken off (``empty_twice``).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from hardware_profiles.errors import MeasureFailed
from hardware_profiles.fit.calibrate import calibrate, validate
from hardware_profiles.types import Check, DeviceProfile, Latency, LatencyTable, OpKey

Shape = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is timed.

    Args:
        net: its name.
        resolution_px: side of the networks' input.
        blocks: every block that the net can hold, with the shapes [B, C, H, W] of its input and its output; a vector
            counts as a 1x1 map.
        networks: the blocks of each whole network, in order.
        calibrate_on: the first so many networks fit ``overhead_ms`` and ``scale``; the others validate them.
        empty_twice: time two empty blocks in a row, too.

    Raises:
        MeasureFailed: no network to calibrate on, or one with a block that is not among ``blocks``.
    """

    net: str
    resolution_px: int
    blocks: Mapping[OpKey, tuple[Shape, Shape]] = field(hash=False)
    networks: tuple[tuple[OpKey, ...], ...]
    calibrate_on: int
    empty_twice: bool = False

    def __post_init__(self) -> None:
        """Refuse plans that make no table."""
        if not 1 <= self.calibrate_on <= len(self.networks):
            raise MeasureFailed(
                f"calibrate_on is {self.calibrate_on} of {len(self.networks)} networks; it takes 1 to all of them"
            )
        for key in {key for ops in self.networks for key in ops}:
            if key not in self.blocks:
                raise MeasureFailed(f"a network has the block {key}, which is not among the {len(self.blocks)} to time")

    def names(self) -> Iterator[str]:
        """What is timed: blocks, empty blocks, networks."""
        shapes = dict.fromkeys(itertools.chain.from_iterable(self.blocks.values()))
        yield from map(str, self.blocks)
        for depth in (1, 2) if self.empty_twice else (1,):
            yield from (empty_name(shape, depth) for shape in shapes)
        yield from map(network_name, range(len(self.networks)))

    def table(
        self, times: Mapping[str, Latency], device: DeviceProfile, *, measured_at: str | None = None
    ) -> LatencyTable:
        """The table that these times make; an entry is what its block adds to a network.

        Args:
            times: of everything in ``names()``.
            device: that they were taken on.
            measured_at: when; by default now.

        Raises:
            MeasureFailed: a time is missing, or the blocks are too small to time.
        """
        for name in self.names():
            if name not in times:
                raise MeasureFailed(f"{name!r} was not timed; measure again to the end")
        entries = {
            key: _less(times[str(key)], *(self._border_ms(times, shape) for shape in shapes))
            for key, shapes in self.blocks.items()
        }
        sums_ms = np.array([sum(entries[key].median_ms for key in ops) for ops in self.networks])
        networks_ms = np.array([times[network_name(i)].median_ms for i in range(len(self.networks))])
        if not (sums_ms.all() and networks_ms.all()):
            raise MeasureFailed(
                f"the blocks of a {self.net} network took no longer than empty ones at {self.resolution_px} px;"
                " measure at a higher resolution"
            )
        overhead_ms, scale = calibrate(sums_ms[: self.calibrate_on], networks_ms[: self.calibrate_on])
        predicted_ms = (overhead_ms + scale * sums_ms)[self.calibrate_on :]
        unseen_ms = networks_ms[self.calibrate_on :]
        return LatencyTable(
            device=device,
            net=self.net,
            resolution_px=self.resolution_px,
            entries=entries,
            overhead_ms=overhead_ms,
            scale=scale,
            validation=validate(predicted_ms, unseen_ms) if len(unseen_ms) else None,
            measured_at=measured_at or datetime.now(UTC).isoformat(timespec="seconds"),
            checks=tuple(
                Check(predicted_ms=round(float(p), 6), measured_ms=round(float(m), 6))
                for p, m in zip(predicted_ms, unseen_ms, strict=True)
            ),
        )

    def _border_ms(self, times: Mapping[str, Latency], shape: Shape) -> float:
        """What a block of this shape pays for being alone."""
        once_ms = times[empty_name(shape)].median_ms
        return 2 * once_ms - times[empty_name(shape, 2)].median_ms if self.empty_twice else once_ms


def empty_name(shape: Shape, depth: int = 1) -> str:
    """The name of one or two empty blocks of a shape: ``empty 1x16x32x32``, ``empty twice 1x16x32x32``."""
    return f"empty{' twice' if depth == 2 else ''} {'x'.join(map(str, shape))}"


def network_name(i: int) -> str:
    """The name of the network with a number: ``network 3``."""
    return f"network {i}"


def _less(latency: Latency, before_ms: float, after_ms: float) -> Latency:
    """``latency`` without its borders, in whole ns; 0 at least, for a block that does no more than the empty one."""
    fixed_ms = (before_ms + after_ms) / 2
    return Latency(
        median_ms=max(0.0, round(latency.median_ms - fixed_ms, 6)),
        p90_ms=max(0.0, round(latency.p90_ms - fixed_ms, 6)),
        samples=latency.samples,
    )
