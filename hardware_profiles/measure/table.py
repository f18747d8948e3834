"""Measure: a latency table of the machine at hand, calibrated on whole networks and validated on unseen ones."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from hardware_profiles.errors import BadKit
from hardware_profiles.measure.models import Bench, Network, Progress, set_up
from hardware_profiles.measure.runtimes import OpenOnnx, find_runtime, onnx_files
from hardware_profiles.replace_file import replace_file
from hardware_profiles.timing.noise import NoiseWatch, Patience
from hardware_profiles.timing.rounds import Clock, Turn, take_turns, unsettled
from hardware_profiles.timing.timing import Lend, latency_of, lender
from hardware_profiles.types import DeviceProfile, LatencyTable, OpKey, Precision

SCHEMA = 1
_SAVE_SECONDS = 5.0  # what an interruption costs, at most
_MAX_BYTES = 50_000_000  # far above a real one


class Started:
    """The file of one measurement.

    Args:
        path: of the file; it need not exist.
        settings: what is measured, with what and how; JSON values.
        clock: seconds.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._settings = json.loads(json.dumps(settings))
        self._clock = clock
        self._saved_at = -math.inf

    def load(self, names: Sequence[str]) -> dict[str, list[Turn]]:
        """The turns so far of each of ``names``; none where nothing was started.

        Raises:
            BadKit: the file is malformed, or of other settings.
        """
        turns: dict[str, list[Turn]] = {name: [] for name in names}
        if not self._path.exists():
            return turns
        try:
            with self._path.open("rb") as file:
                document = json.loads(file.read(_MAX_BYTES))
            schema, settings, had = document["schema"], document["settings"], document["turns"]
            found = {name: [_turn(value) for value in had.get(name, [])] for name in names}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BadKit(f"{self._path}: is no started measurement that this version can go on with; {_FIX}") from error
        if schema != SCHEMA or settings.keys() != self._settings.keys():
            raise BadKit(f"{self._path}: was started by another version; {_FIX}")
        for key, value in self._settings.items():
            if settings[key] != value:
                was, now = (json.dumps(v)[:60] for v in (settings[key], value))
                raise BadKit(f"{self._path}: was started with {key} {was}, now it is {now}; {_FIX}")
        return found

    def save(self, turns: Mapping[str, Sequence[Turn]], *, now: bool = False) -> None:
        """Write the turns, at most every 5 seconds unless ``now``.

        Raises:
            BadKit: the file cannot be written.
        """
        if not now and self._clock() - self._saved_at < _SAVE_SECONDS:
            return
        document = {"schema": SCHEMA, "settings": self._settings, "turns": turns}
        try:
            replace_file(self._path, json.dumps(document))
        except OSError as error:
            raise BadKit(f"{self._path}: cannot be written: {error.strerror}; choose another folder") from error
        self._saved_at = self._clock()

    def finish(self) -> None:
        """Remove the file: the measurement is complete."""
        self._path.unlink(missing_ok=True)


_FIX = "remove the file to start over"


def _turn(value: Any) -> Turn:
    """One turn, checked: two finite times in ns, the median first, and how many samples."""
    median_ns, p90_ns, samples = value
    if not (0 <= median_ns <= p90_ns < math.inf and type(samples) is int and samples > 0):
        raise ValueError(f"{value!r} is no turn")
    return float(median_ns), float(p90_ns), samples


__all__ = ["Network", "measure_table"]

ROUNDS = 16  # turns a model; the quietest counts
_TURN_SECONDS = 0.004  # short enough to fall between two interruptions
# Of models that stay loaded. The quiet moments between a neighbor's bursts on a rented core are as short as a window.
_LONG_TURN_SECONDS, _WINDOW_SECONDS = 0.008, 0.0005
# Of those whose quietest turns disagree, for every round that all had: of models that stay loaded, and of others.
_MORE_ROUNDS = {True: 3, False: 1}
# The runtime whose idle sessions use no core, as long as they have one thread.
_IDLE_RUNTIME = "onnxruntime"


def measure_table(
    blocks: Mapping[OpKey, Callable[[], nn.Module]],
    networks: Sequence[Network],
    *,
    net: str,
    resolution_px: int,
    device: DeviceProfile,
    calibrate_on: int,
    light_blocks: bool = False,
    seed: int = 0,
    rounds: int = ROUNDS,
    progress: Progress | None = None,
    open_runner: OpenOnnx | None = None,
    clock: Clock = time.perf_counter_ns,
    started: Path | None = None,
    watch: NoiseWatch | None = None,
) -> LatencyTable:
    """Time every block and network on this machine.

    Args:
        blocks: every block that the net can hold, and how to build it; its input is
            ``(device.batch, c_in, height_px, width_px)``.
        networks: whole networks made of those blocks.
        net: the net's name.
        resolution_px: side of the networks' input.
        device: this machine, with the runtime, precision, threads and batch to use.
        calibrate_on: the first so many networks fit ``overhead_ms`` and ``scale``; the others, which the fit does not
            see, validate it.
        light_blocks: some blocks take no longer than the empty one, see ``plan``.
        seed: of the random weights and inputs.
        rounds: turns of every model; those whose two quietest turns disagree get up to as many again, or three times
            as many where models can stay loaded.
        progress: called with a stage (``export``, ``time`` or ``settle``), the steps done and the steps in all.
        open_runner: opens an ONNX file; by default that of ``device.runtime``.
        clock: returns nanoseconds.
        started: a file that keeps the turns had so far, so that the same call goes on after an interruption; removed
            at the end.
        watch: looks at the machine after each round; None takes the times as they are.

    Returns:
        The table; an entry is what its block adds to a network, see ``plan``.

    Raises:
        MeasureFailed: no network to calibrate on, one with a block not in ``blocks``, or blocks too small to time.
        MissingRuntime: ``device.runtime`` is not here, or does not compute in ``device.precision``.
        NoisyMachine: most rounds were disturbed.
        BadKit: ``started`` holds a measurement of something else.
    """
    precision: Precision = device.precision
    with TemporaryDirectory(prefix="latency-") as folder:
        bench = set_up(
            blocks,
            networks,
            net=net,
            resolution_px=resolution_px,
            batch=device.batch,
            calibrate_on=calibrate_on,
            empty_twice=light_blocks or precision == "int8",
            prepare=onnx_files(open_runner, precision)
            if open_runner
            else find_runtime(device.runtime, precision=precision).prepare(precision, device.threads),
            folder=Path(folder),
            seed=seed,
            progress=progress or _silent,
        )
        settings = {**asdict(device), "rounds": rounds, "seed": seed, "models": _digest(bench)}
        file = Started(started, settings) if started else None
        turns = file.load(list(bench.subjects)) if file else {name: [] for name in bench.subjects}
        keep = device.threads == 1 and device.runtime == _IDLE_RUNTIME
        try:
            with lender(bench.subjects, keep=keep) as lend:
                patience = Patience(watch) if watch else _patient
                _time(lend, turns, rounds, clock, file, patience, progress or _silent, keep=keep)
        finally:
            if file:
                file.save(turns, now=True)
    table = bench.plan.table({name: latency_of(had) for name, had in turns.items()}, device)
    if file:
        file.finish()
    return table


def _time(
    lend: Lend,
    turns: dict[str, list[Turn]],
    rounds: int,
    clock: Clock,
    file: Started | None,
    patience: Callable[[], None],
    progress: Progress,
    *,
    keep: bool,
) -> None:
    """``rounds`` of all models, then those that are not settled again until they are."""
    limit = rounds * (1 + _MORE_ROUNDS[keep])

    def finished(stage: str, count: int) -> None:
        progress(stage, count, rounds if stage == "time" else limit - rounds)
        if file:
            file.save(turns)
        patience()

    def turn(names: Mapping[str, list[Turn]], until: int, stage: str, before: int) -> None:
        take_turns(
            lend,
            names,
            rounds=until,
            clock=clock,
            max_seconds=_LONG_TURN_SECONDS if keep else _TURN_SECONDS,
            window_seconds=_WINDOW_SECONDS if keep else None,
            progress=lambda count: finished(stage, count - before),
        )

    turn(turns, rounds, "time", 0)
    for until in range(rounds + 1, limit + 1):
        if not (restless := {name: turns[name] for name in unsettled(turns)}):
            break
        turn(restless, until, "settle", rounds)


def _digest(bench: Bench) -> str:
    """Of the models and what they stand for: another version of a net is another measurement."""
    return hashlib.sha256(repr(bench.plan).encode()).hexdigest()


def _patient() -> None:
    """Take the times as they are."""


def _silent(stage: str, done: int, of: int) -> None:
    """For callers who do not watch."""
