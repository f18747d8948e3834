"""Timing: how long a call takes, on a machine that does other things, too.

time_call (one function) · time_runners (many models, in turns)

Interference only ever adds time, and comes in bursts of milliseconds to seconds. So every call is timed in several
short rounds, each summed up by its median, and the quietest round counts. Many models take turns within each round: a
burst then hits all of them alike instead of making one look slow.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import numpy as np

from hardware_profiles.runners import Arrays, Runner
from hardware_profiles.types import Latency

Clock = Callable[[], int]
Subject = tuple[Callable[[], Runner], Arrays]

# Reading the clock takes some 50 ns: in a sample this long that is 0.1 % at most.
_MIN_SAMPLE_NS = 50_000
_MAX_CALLS = 100
_STABLE = 0.01


def time_call(
    call: Callable[[], object],
    *,
    clock: Clock = time.perf_counter_ns,
    rounds: int = 5,
    warmup: int = 3,
    min_samples: int = 10,
    max_samples: int = 2000,
    max_seconds: float = 0.2,
) -> Latency:
    """Time ``call``; each round repeats it until doubling the samples moves their median by less than 1 %.

    Args:
        call: does the work, and has finished it when it returns.
        clock: returns nanoseconds.
        rounds: how many times to start over; the round with the smallest median counts.
        warmup: calls before each round that are not timed; at least 1.
        min_samples: fewest samples in a round; a sample is one call, or the mean of several where one is very short.
        max_samples: most samples in a round.
        max_seconds: a round ends here once it has ``min_samples``.

    Returns:
        Median and 90th percentile of the quietest round, and the samples of all rounds.
    """
    return _quietest([_round(call, clock, warmup, min_samples, max_samples, max_seconds) for _ in range(rounds)])


def time_runners(
    subjects: Sequence[Subject],
    *,
    clock: Clock = time.perf_counter_ns,
    rounds: int = 16,
    max_seconds: float = 0.004,
    progress: Callable[[int], None] | None = None,
) -> list[Latency]:
    """Time many models, one after the other, ``rounds`` times over.

    Each model is loaded anew in each round: with one runner open at a time no other runner's idle threads take a core,
    and an unlucky placement in memory lasts one round only.

    Args:
        subjects: what opens each model's runner, and the inputs to run it on.
        clock: returns nanoseconds.
        rounds: turns of every model; its quietest one counts.
        max_seconds: length of a turn; at least 3 samples are taken.
        progress: called with the number of finished rounds.

    Returns:
        For each subject median and 90th percentile of its quietest round, and the samples of all its rounds.
    """
    turns: list[list[Latency]] = [[] for _ in subjects]
    for finished in range(1, rounds + 1):
        for turn, (open_runner, inputs) in zip(turns, subjects, strict=True):
            turn.append(_turn(open_runner, inputs, clock, max_seconds))
        if progress is not None:
            progress(finished)
    return [_quietest(turn) for turn in turns]


def _turn(open_runner: Callable[[], Runner], inputs: Arrays, clock: Clock, max_seconds: float) -> Latency:
    with ExitStack() as stack:
        runner = stack.enter_context(open_runner())
        return _round(lambda: runner.run(inputs), clock, 2, 3, 500, max_seconds)


def _quietest(rounds: Sequence[Latency]) -> Latency:
    best = min(rounds, key=lambda latency: latency.median_ms)
    return Latency(median_ms=best.median_ms, p90_ms=best.p90_ms, samples=sum(latency.samples for latency in rounds))


def _round(
    call: Callable[[], object], clock: Clock, warmup: int, min_samples: int, max_samples: int, max_seconds: float
) -> Latency:
    begin_ns = clock()
    for _ in range(warmup - 1):
        call()
    calls = min(_MAX_CALLS, math.ceil(_MIN_SAMPLE_NS / max(1, _sample_ns(call, clock, 1))))
    samples_ns: list[float] = []
    target, median_ns = min_samples, math.inf
    while True:
        while len(samples_ns) < target:
            if len(samples_ns) >= min_samples and clock() - begin_ns > max_seconds * 1e9:
                return _latency(samples_ns)
            samples_ns.append(_sample_ns(call, clock, calls))
        before_ns, median_ns = median_ns, float(np.median(samples_ns))
        if abs(median_ns - before_ns) <= _STABLE * median_ns or target >= max_samples:
            return _latency(samples_ns)
        target = min(2 * target, max_samples)


def _sample_ns(call: Callable[[], object], clock: Clock, calls: int) -> float:
    begin_ns = clock()
    for _ in range(calls):
        call()
    return (clock() - begin_ns) / calls


def _latency(samples_ns: Sequence[float]) -> Latency:
    median_ms, p90_ms = np.percentile(samples_ns, [50, 90]) / 1e6
    return Latency(median_ms=float(median_ms), p90_ms=float(p90_ms), samples=len(samples_ns))
