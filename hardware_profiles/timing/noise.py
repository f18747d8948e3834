"""Noise: what else the machine does while something is timed or computed on it.

The kernel's count of all busy time, less this process's own, is the work of others: of programs, of another measurement
started by somebody else, and, on a rented machine, of the neighbors for whom the hypervisor takes its cores away.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import psutil

from hardware_profiles.errors import NoisyMachine

# An idle desktop uses 0.05 of a core, one other busy thread 1.
LIMIT_CORES = 0.25
_LOOK_SECONDS = 1.0
_FIRST_ROUNDS = 4
# OpenMP's threads meet at the end of every layer, so all of them take as long as the one that got the least of its
# core: with two threads beside other work a search took ten times as long as with one.
_VARIABLE = "OMP_NUM_THREADS"
_THREADS_LOOK_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Seconds since some beginning: of the clock, of all cores' work, of that which is this process's or stolen."""

    wall_s: float
    busy_s: float
    own_s: float
    stolen_s: float


def sample() -> Sample:
    """What the kernel counts now."""
    every, own = psutil.cpu_times(), psutil.Process().cpu_times()
    waiting = every.idle + getattr(every, "iowait", 0.0)  # what each system counts differs
    twice = getattr(every, "guest", 0.0) + getattr(every, "guest_nice", 0.0)  # is part of user and nice, too
    return Sample(
        wall_s=time.monotonic(),
        busy_s=sum(every) - waiting - twice,
        own_s=own.user + own.system + own.children_user + own.children_system,
        stolen_s=getattr(every, "steal", 0.0),
    )


class NoiseWatch:
    """How busy others keep the machine, from one look to the next.

    Args:
        take: takes a sample.
    """

    def __init__(self, take: Callable[[], Sample] = sample) -> None:
        self._take = take
        self._last = take()

    def others(self) -> tuple[float, float]:
        """Cores that others kept busy since the last look, and of these the cores that the hypervisor took."""
        before, self._last = self._last, self._take()
        wall_s = max(1e-6, self._last.wall_s - before.wall_s)
        work_s = (self._last.busy_s - before.busy_s) - (self._last.own_s - before.own_s)
        return max(0.0, work_s / wall_s), max(0.0, (self._last.stolen_s - before.stolen_s) / wall_s)

    def noise(self) -> str | None:
        """Why what was timed since the last look is not to be trusted; None where it is."""
        others, stolen = self.others()
        if others <= LIMIT_CORES:
            return None
        if stolen > others / 2:
            return f"the hypervisor took {stolen:.2f} cores away"
        return f"other work keeps {others:.2f} cores busy{_busiest()}"


class Patience:
    """Gives up once most rounds were disturbed.

    Args:
        watch: looks at the machine.
    """

    def __init__(self, watch: NoiseWatch) -> None:
        self._watch = watch
        self._rounds = self._noisy = 0

    def __call__(self) -> None:
        """After each round.

        Raises:
            NoisyMachine: 4 rounds or more, and most of them disturbed.
        """
        reason = self._watch.noise()
        self._rounds += 1
        self._noisy += reason is not None
        if reason is not None and self._rounds >= _FIRST_ROUNDS and 2 * self._noisy > self._rounds:
            raise NoisyMachine(f"{self._noisy} of {self._rounds} rounds were disturbed: {reason}; {_FIX}")


def refuse_noise(watch: NoiseWatch, sleep: Callable[[float], object] = time.sleep) -> None:
    """Look at the machine for a second before anything is timed.

    Raises:
        NoisyMachine: other work runs on it.
    """
    watch.others()
    sleep(_LOOK_SECONDS)
    if (reason := watch.noise()) is not None:
        raise NoisyMachine(f"this machine is not quiet: {reason}; {_FIX}")


_FIX = "stop that, or take the times as they are with --force"


def _busiest(seconds: float = 0.2) -> str:
    """The busiest process of others, looked for now; nothing where none can be seen."""
    before = _process_seconds()
    time.sleep(seconds)
    spent = {pid: (s - before[pid][0], name) for pid, (s, name) in _process_seconds().items() if pid in before}
    pid = max(spent, key=lambda pid: spent[pid][0], default=None)
    if pid is None or spent[pid][0] < seconds / 10:
        return ""
    return f", {spent[pid][1]} (process {pid}) most of all"


def _process_seconds() -> dict[int, tuple[float, str]]:
    found = {}
    for process in psutil.process_iter(["cpu_times", "name"]):
        with suppress(psutil.Error):
            times = process.info["cpu_times"]
            if process.pid != os.getpid() and times is not None:
                found[process.pid] = times.user + times.system, process.info["name"]
    return found


def take_free_threads(say: Callable[[str], None]) -> None:
    """Let torch compute with no more threads than cores are free; said where that changes anything.

    Whoever set OMP_NUM_THREADS has decided already.
    """
    if (found := _too_many()) is None:
        return
    import torch

    busy, cores, threads = found
    torch.set_num_threads(max(1, round(cores - busy)))
    say(
        f"other work keeps {busy:.1f} of {cores} cores busy: computing with {torch.get_num_threads()} of {threads}"
        f" threads, which would wait for each other; {_VARIABLE} sets another number"
    )


@cache
def advise_threads(say: Callable[[str], None]) -> None:
    """Say once, to a program that has its own use of torch, what ``take_free_threads`` would do."""
    if (found := _too_many()) is not None:
        busy, cores, threads = found
        say(
            f"other work keeps {busy:.1f} of {cores} cores busy, and the {threads} threads of torch wait for each"
            f" other: set {_VARIABLE}=1 before Python starts, or torch.set_num_threads(1)"
        )


def _too_many() -> tuple[float, int, int] | None:
    """Cores that others keep busy, cores in all, and threads of torch, where these are more than are free."""
    if _VARIABLE in os.environ:
        return None
    import torch  # takes a second; whoever computes has imported it

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if torch.get_num_threads() < 2:
        return None
    watch = NoiseWatch()
    time.sleep(_THREADS_LOOK_S)
    busy = min(watch.others()[0], float(cores))
    free = max(1, round(cores - busy))
    return (busy, cores, torch.get_num_threads()) if free < torch.get_num_threads() else None
