"""Time the networks of this kit on this machine: ``python3 kit.zip``.

Needs Python 3.9 or newer, numpy and onnxruntime, and some minutes in which the machine does nothing else. Writes one
JSON file; on the machine that made the kit, ``zoo devices import`` turns it into a latency table. Interrupted, the same
command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
from rounds import quietest, take_turns, unsettled  # type: ignore[import-not-found]  # lies beside this in the kit

SCHEMA = 1
HERE = Path(__file__).parent
_TURN_SECONDS = 0.02  # small machines are slow, and even there a turn shall hold some samples
_SAVE_SECONDS = 10  # what a lost connection to a board costs
_BUSY_LOAD = 0.5  # of a core, by others


def main() -> int:
    """Time everything and write the result; 0 where that succeeded."""
    asked = _arguments()
    if not asked.force and (reason := _noise()):
        return _stop(f"this machine is not quiet: {reason}; stop that, or take the times as they are with --force")
    kit = json.loads(_read("kit.json"))
    settings = {"kit": {key: kit[key] for key in kit if key != "models"}, "machine": _machine(asked.threads)}
    part = asked.out.with_name(f"{asked.out.name}.part")
    turns: dict[str, list[Any]] = {model["name"]: [] for model in kit["models"]}
    if part.exists():
        started = json.loads(part.read_text("utf-8"))
        if started["settings"] != settings:
            return _stop(f"{part} was started by another kit or with other settings; remove it to start over")
        turns.update(started["turns"])

    def save() -> None:
        _write(part, {"settings": settings, "turns": turns})

    try:
        with TemporaryDirectory(prefix="kit-", dir=asked.out.parent) as folder:
            _time(_Models(kit["models"], Path(folder), asked.threads), turns, asked.rounds, save)
    except KeyboardInterrupt:
        return _stop("interrupted; the same command goes on")
    finally:
        save()
    now = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    times = {name: quietest([tuple(turn) for turn in had]) for name, had in turns.items()}
    _write(asked.out, {"schema": SCHEMA, **settings, "measured_at": now, "times": times})
    part.unlink()
    print(f"{asked.out}\ncarry it back and run: zoo devices import {asked.out.name}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 kit.zip", description="Time the networks of this kit.")
    parser.add_argument("-o", "--out", type=Path, default=Path("kit-result.json"), help="the file to write")
    parser.add_argument("--threads", type=int, default=1, help="threads of the runtime (1)")
    parser.add_argument("--rounds", type=int, default=16, help="turns of every network (16)")
    parser.add_argument("--force", action="store_true", help="measure although the machine is busy")
    asked = parser.parse_args()
    asked.out = asked.out.absolute()
    if asked.threads < 1 or asked.rounds < 1:
        parser.error("--threads and --rounds are 1 at least")
    return asked


class _Models:
    """The kit's models on disk, with an input for each."""

    def __init__(self, models: list[dict[str, Any]], folder: Path, threads: int) -> None:
        rng = np.random.default_rng(0)
        self._threads = threads
        self._subjects = {}
        for i, model in enumerate(models):
            path = folder / f"{i}.onnx"
            path.write_bytes(_read(model["file"]))
            self._subjects[model["name"]] = path, rng.standard_normal(model["input"], dtype=np.float32)

    @contextmanager
    def open_call(self, name: str) -> Iterator[Callable[[], object]]:
        """Load a model and lend the call that runs it."""
        path, images = self._subjects[name]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self._threads, 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        inputs = {session.get_inputs()[0].name: images}
        yield lambda: session.run(None, inputs)


def _time(models: _Models, turns: dict[str, list[Any]], rounds: int, save: Callable[[], None]) -> None:
    """Every model ``rounds`` times, then those that are not settled again, as often at most."""
    begin = saved = time.monotonic()
    before = done = sum(map(len, turns.values()))

    @contextmanager
    def counted(name: str) -> Iterator[Callable[[], object]]:
        nonlocal done, saved
        with models.open_call(name) as call:
            yield call
        done += 1
        now = time.monotonic()
        if now - saved > _SAVE_SECONDS:
            save()
            saved = now
        left_min = max(0, rounds * len(turns) - done) * (now - begin) / (done - before) / 60
        print(f"\r{done} of {rounds * len(turns)} turns, {left_min:.1f} min left ", end="", file=sys.stderr, flush=True)

    for extra in range(rounds + 1):
        waiting = turns if extra == 0 else {name: turns[name] for name in unsettled(turns)}
        take_turns(counted, waiting, rounds=rounds + extra, clock=time.perf_counter_ns, max_seconds=_TURN_SECONDS)
    print(file=sys.stderr)


def _machine(threads: int) -> dict[str, Any]:
    """What the times hold for."""
    try:
        memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        memory_bytes = 0
    return {
        "chip": _chip(),
        "cores": os.cpu_count() or 1,
        "memory_bytes": memory_bytes,
        "architecture": platform.machine() or "unknown",
        "runtime": "onnxruntime",
        "runtime_version": onnxruntime.__version__,
        "threads": threads,
    }


def _chip() -> str:
    """The board's name where Linux knows it, else the processor's."""
    board, processors = _text("/proc/device-tree/model"), _text("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in processors.splitlines() if line.startswith("model name")]
    return next(iter([*filter(None, [board.strip("\0\n ")]), *names]), platform.processor() or "unknown processor")


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", errors="replace")
    except OSError:
        return ""


def _noise() -> str:
    """Why the machine is not quiet, as far as it tells."""
    try:
        load = os.getloadavg()[0]
    except (AttributeError, OSError):
        return ""
    return f"its load is {load:.1f}" if load > _BUSY_LOAD else ""


def _read(name: str) -> bytes:
    """One file of the kit, which is a zip file or the folder that it was unpacked to."""
    if HERE.is_dir():
        return (HERE / name).read_bytes()
    with zipfile.ZipFile(HERE) as kit:
        return kit.read(name)


def _write(path: Path, document: object) -> None:
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_text(json.dumps(document), "utf-8")
    temporary.replace(path)


def _stop(reason: str) -> int:
    print(f"\nkit: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
