"""Threads: where other work keeps a machine busy, the threads of one computation wait for each other.

OpenMP's threads meet at the end of every layer, so all of them take as long as the one that got the least of its core:
with two threads beside other work a search took ten times as long as with one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import cache

from hardware_profiles.timing.noise import NoiseWatch

_VARIABLE = "OMP_NUM_THREADS"
_LOOK_S = 0.2


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
    time.sleep(_LOOK_S)
    busy = min(watch.others()[0], float(cores))
    free = max(1, round(cores - busy))
    return (busy, cores, torch.get_num_threads()) if free < torch.get_num_threads() else None
