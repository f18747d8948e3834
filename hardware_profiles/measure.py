"""Measure: a latency table of the machine at hand, calibrated on whole networks and validated on unseen ones.

A block that is timed alone pays for things that it does not pay for inside a network: the call into the runtime, and
the conversion of its maps into the runtime's own memory layout and back. An empty block, one 1x1 depthwise convolution,
pays for the same and computes next to nothing; so the time of the empty block is taken off, the mean of those at the
block's input shape and at its output shape.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from hardware_profiles.calibrate import calibrate, validate
from hardware_profiles.errors import MeasureFailed
from hardware_profiles.onnx_bytes import INPUT, to_onnx_bytes
from hardware_profiles.runners import OnnxRunner, Runner
from hardware_profiles.timing import Clock, Subject, time_runners
from hardware_profiles.types import DeviceProfile, Latency, LatencyTable, OpKey

Shape = tuple[int, int, int, int]
Progress = Callable[[str, int, int], None]
OpenRunner = Callable[[Path], Runner]


@dataclass(frozen=True, kw_only=True)
class Network:
    """A whole network to time: its blocks in order, how to build it, and its input's shape."""

    ops: tuple[OpKey, ...]
    build: Callable[[], nn.Module]
    input_nchw: Shape


def measure_table(
    blocks: Mapping[OpKey, Callable[[], nn.Module]],
    networks: Sequence[Network],
    *,
    net: str,
    resolution_px: int,
    device: DeviceProfile,
    calibrate_on: int,
    seed: int = 0,
    rounds: int = 16,
    progress: Progress | None = None,
    open_runner: OpenRunner | None = None,
    clock: Clock = time.perf_counter_ns,
) -> LatencyTable:
    """Time every block and network on this machine.

    Args:
        blocks: every block that the net can hold, and how to build it; its input is
            ``(device.batch, c_in, height_px, width_px)``.
        networks: whole networks made of those blocks.
        net: the net's name.
        resolution_px: side of the networks' input.
        device: this machine, with the threads and the batch to use.
        calibrate_on: the first so many networks fit ``overhead_ms`` and ``scale``; the others, which the fit does not
            see, validate it.
        seed: of the random weights and inputs.
        rounds: turns of every model; see ``time_runners``.
        progress: called with a stage (``export`` or ``time``), the steps done and the steps in all.
        open_runner: opens an ONNX file; by default ONNX Runtime with ``device.threads``.
        clock: returns nanoseconds.

    Returns:
        The table; an entry is what its block adds to a network, the empty block's time being taken off.

    Raises:
        MeasureFailed: no network to calibrate on, one with a block not in ``blocks``, or blocks too small to time.
    """
    _check(blocks, networks, calibrate_on)
    report = progress or (lambda stage, done, of: None)
    with TemporaryDirectory(prefix="latency-") as folder:
        bench = _Bench(Path(folder), open_runner or partial(OnnxRunner, threads=device.threads), seed)
        shapes = _export_blocks(bench, blocks, device.batch, lambda i: report("export", i, len(blocks) + len(networks)))
        for i, network in enumerate(networks):
            bench.add(i, network.build, network.input_nchw)
            report("export", len(blocks) + i + 1, len(blocks) + len(networks))
        times = bench.time(rounds, clock, lambda i: report("time", i, rounds))
    entries = {
        key: _less(times[key], (times[before].median_ms + times[after].median_ms) / 2)
        for key, (before, after) in shapes.items()
    }
    sums_ms = np.array([sum(entries[key].median_ms for key in network.ops) for network in networks])
    networks_ms = np.array([times[i].median_ms for i in range(len(networks))])
    if not (sums_ms.all() and networks_ms.all()):
        raise MeasureFailed(
            f"the blocks of a {net} network took no longer than empty ones at {resolution_px} px;"
            " measure at a higher resolution"
        )
    overhead_ms, scale = calibrate(sums_ms[:calibrate_on], networks_ms[:calibrate_on])
    unseen = slice(calibrate_on, None)
    return LatencyTable(
        device=device,
        net=net,
        resolution_px=resolution_px,
        entries=entries,
        overhead_ms=overhead_ms,
        scale=scale,
        validation=validate(overhead_ms + scale * sums_ms[unseen], networks_ms[unseen])
        if len(networks) > calibrate_on
        else None,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


class _Bench:
    """Models on disk by what they stand for: a block, an empty block of a shape, or the network with a number."""

    def __init__(self, folder: Path, open_runner: OpenRunner, seed: int) -> None:
        self._folder = folder
        self._open_runner = open_runner
        self._seed = seed
        self._rng = np.random.default_rng(seed)
        self._subjects: dict[OpKey | Shape | int, Subject] = {}
        self._outputs: dict[OpKey | Shape | int, Shape] = {}

    def add(self, name: OpKey | Shape | int, build: Callable[[], nn.Module], input_nchw: Shape) -> Shape:
        """Export a model unless it is here, and return its output's shape; a vector counts as a 1x1 map."""
        if name not in self._subjects:
            path = self._folder / f"{len(self._subjects)}.onnx"
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                torch.manual_seed(self._seed)
                module = build().eval()
                n, c, h, w = (*module(torch.zeros(input_nchw)).shape, 1, 1)[:4]
            path.write_bytes(to_onnx_bytes(module, input_nchw))
            inputs = {INPUT: self._rng.standard_normal(input_nchw, dtype=np.float32)}
            self._subjects[name] = (partial(self._open_runner, path), inputs)
            self._outputs[name] = (n, c, h, w)
        return self._outputs[name]

    def time(self, rounds: int, clock: Clock, progress: Callable[[int], None]) -> dict[OpKey | Shape | int, Latency]:
        """The latency of every model."""
        latencies = time_runners(list(self._subjects.values()), rounds=rounds, clock=clock, progress=progress)
        return dict(zip(self._subjects, latencies, strict=True))


def _export_blocks(
    bench: _Bench, blocks: Mapping[OpKey, Callable[[], nn.Module]], batch: int, progress: Callable[[int], None]
) -> dict[OpKey, tuple[Shape, Shape]]:
    """Add every block, and an empty one for every shape between blocks; input and output shape by block."""
    shapes = {}
    for i, (key, build) in enumerate(blocks.items()):
        before = (batch, key.c_in, key.height_px, key.width_px)
        after = bench.add(key, build, before)
        shapes[key] = before, after
        for shape in shapes[key]:
            bench.add(shape, partial(_empty_block, shape[1]), shape)
        progress(i + 1)
    return shapes


def _empty_block(channels: int) -> nn.Module:
    return nn.Conv2d(channels, channels, 1, groups=channels, bias=False)


def _less(latency: Latency, fixed_ms: float) -> Latency:
    """``latency`` without a fixed cost, in whole ns; 0 at least, for a block that does no more than the empty one."""
    return Latency(
        median_ms=max(0.0, round(latency.median_ms - fixed_ms, 6)),
        p90_ms=max(0.0, round(latency.p90_ms - fixed_ms, 6)),
        samples=latency.samples,
    )


def _check(blocks: Mapping[OpKey, Callable[[], nn.Module]], networks: Sequence[Network], calibrate_on: int) -> None:
    if not 1 <= calibrate_on <= len(networks):
        raise MeasureFailed(f"calibrate_on is {calibrate_on} of {len(networks)} networks; it takes 1 to all of them")
    for key in {key for network in networks for key in network.ops}:
        if key not in blocks:
            raise MeasureFailed(f"a network has the block {key}, which is not among the {len(blocks)} blocks to time")
