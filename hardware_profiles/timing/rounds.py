"""Rounds: the loop that times a call, in plain Python >= 3.9 so that the device kit runs the very same one.

Interference only ever adds time, and comes in bursts of milliseconds to seconds. So every call is timed in several
short turns, each summed up by its median - or, where even a turn is too long to be quiet throughout, by that of its
quietest window - and the quietest turn counts. Many models take turns in rounds: a burst then
hits all of them alike instead of making one look slow. Times are in nanoseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from statistics import median
from typing import TypeVar

Clock = Callable[[], int]
Turn = tuple[float, float, int]  # median, 90th percentile, samples
Name = TypeVar("Name", bound=Hashable)

# Reading the clock takes some 50 ns: in a sample this long that is 0.1 % at most.
_MIN_SAMPLE_NS = 50_000
_MAX_CALLS = 100
_STABLE = 0.01
_SETTLED = 0.03


def take_turns(
    open_call: Callable[[Name], AbstractContextManager[Callable[[], object]]],
    turns: Mapping[Name, list[Turn]],
    *,
    rounds: int,
    clock: Clock,
    max_seconds: float,
    window_seconds: float | None = None,
    progress: Callable[[int], None] = lambda finished: None,
) -> None:
    """Let every model take turns until each has had ``rounds``; those that it brings along count.

    Where each model is loaded anew for each turn no other one's idle threads take a core, and an unlucky placement in
    memory lasts one turn only.

    Args:
        open_call: lends a model's call to time.
        turns: by model, the turns it has had; grows.
        rounds: turns that each model shall have had.
        clock: returns nanoseconds.
        max_seconds: length of a turn; at least 3 samples are taken.
        window_seconds: length of a window of a turn, which may be one sample; None takes the turn as a whole.
        progress: called with the number of finished rounds.
    """
    for finished in range(1, rounds + 1):
        waiting = [name for name, had in turns.items() if len(had) < finished]
        for name in waiting:
            with open_call(name) as call:
                if window_seconds is None:
                    turn = one_turn(call, clock, warmup=2, min_samples=3, max_samples=500, max_seconds=max_seconds)
                else:
                    turn = quietest(list(_windows(call, clock, window_seconds, max_seconds)))
                turns[name].append(turn)
        if waiting:
            progress(finished)


def _windows(call: Callable[[], object], clock: Clock, window_seconds: float, max_seconds: float) -> Iterator[Turn]:
    """At least one, and as many as begin within ``max_seconds``."""
    begin_ns = clock()
    for i in range(max(1, round(max_seconds / window_seconds))):
        if i and clock() - begin_ns > max_seconds * 1e9:
            return
        yield one_turn(call, clock, warmup=1 if i else 2, min_samples=1, max_samples=500, max_seconds=window_seconds)


def unsettled(turns: Mapping[Name, Sequence[Turn]]) -> list[Name]:
    """The models whose two quietest turns differ by more than 3 %: one of them was disturbed, maybe both."""
    lowest = {name: sorted(turn[0] for turn in had)[:2] for name, had in turns.items()}
    return [name for name, low in lowest.items() if len(low) == 2 and low[1] > (1 + _SETTLED) * low[0]]


def quietest(turns: Sequence[Turn]) -> Turn:
    """Median and 90th percentile of the turn with the smallest median, and the samples of all."""
    best = min(turns)
    return best[0], best[1], sum(samples for _, _, samples in turns)


def one_turn(
    call: Callable[[], object], clock: Clock, *, warmup: int, min_samples: int, max_samples: int, max_seconds: float
) -> Turn:
    """Time ``call`` until doubling the samples moves their median by less than 1 %.

    Args:
        call: does the work, and has finished it when it returns.
        clock: returns nanoseconds.
        warmup: calls that are not timed; at least 1.
        min_samples: fewest samples; a sample is one call, or the mean of several where one is very short.
        max_samples: most samples.
        max_seconds: it ends here once it has ``min_samples``.
    """
    begin_ns = clock()
    for _ in range(warmup - 1):
        call()
    calls = min(_MAX_CALLS, math.ceil(_MIN_SAMPLE_NS / max(1, _sample_ns(call, clock, 1))))
    samples_ns: list[float] = []
    target, median_ns = min_samples, math.inf
    while True:
        while len(samples_ns) < target:
            if len(samples_ns) >= min_samples and clock() - begin_ns > max_seconds * 1e9:
                return _summary(samples_ns)
            samples_ns.append(_sample_ns(call, clock, calls))
        before_ns, median_ns = median_ns, median(samples_ns)
        if abs(median_ns - before_ns) <= _STABLE * median_ns or target >= max_samples:
            return _summary(samples_ns)
        target = min(2 * target, max_samples)


def _sample_ns(call: Callable[[], object], clock: Clock, calls: int) -> float:
    begin_ns = clock()
    for _ in range(calls):
        call()
    return (clock() - begin_ns) / calls


def _summary(samples_ns: list[float]) -> Turn:
    """The 90th percentile lies between two samples, as numpy has it."""
    ordered = sorted(samples_ns)
    place = 0.9 * (len(ordered) - 1)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return median(ordered), low + (place - math.floor(place)) * (high - low), len(ordered)
