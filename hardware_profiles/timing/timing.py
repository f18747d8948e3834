"""Timing: how long a call takes, on a machine that does other things, too.

time_call (one function) · time_runners (many models, in turns); ``rounds`` holds the loop and says why it is as it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

import psutil

from hardware_profiles.runners import Arrays, Runner
from hardware_profiles.timing.rounds import Clock as Clock
from hardware_profiles.timing.rounds import Turn, one_turn, quietest, take_turns
from hardware_profiles.types import Latency

Subject = tuple[Callable[[], Runner], Arrays]
Call = Callable[[], object]
Lend = Callable[[str], AbstractContextManager[Call]]
# Of the machine's memory, left to others when models stay loaded.
_LEFT_FREE = 0.25


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
    limits = {"warmup": warmup, "min_samples": min_samples, "max_samples": max_samples}
    return latency_of([one_turn(call, clock, max_seconds=max_seconds, **limits) for _ in range(rounds)])


def time_runners(
    subjects: Sequence[Subject],
    *,
    clock: Clock = time.perf_counter_ns,
    rounds: int = 16,
    max_seconds: float = 0.004,
    progress: Callable[[int], None] | None = None,
) -> list[Latency]:
    """Time many models, one after the other, ``rounds`` times over, each loaded anew in each round.

    Args:
        subjects: what opens each model's runner, and the inputs to run it on.
        clock: returns nanoseconds.
        rounds: turns of every model; its quietest one counts.
        max_seconds: length of a turn; at least 3 samples are taken.
        progress: called with the number of finished rounds.

    Returns:
        For each subject median and 90th percentile of its quietest round, and the samples of all its rounds.
    """
    turns: dict[int, list[Turn]] = {i: [] for i in range(len(subjects))}
    take_turns(
        lambda i: open_call(subjects[i]),
        turns,
        rounds=rounds,
        clock=clock,
        max_seconds=max_seconds,
        progress=progress or (lambda finished: None),
    )
    return [latency_of(had) for had in turns.values()]


@contextmanager
def lender(subjects: Mapping[str, Subject], *, keep: bool) -> Iterator[Lend]:
    """Lends the call that runs a model, by name, for one turn at a time.

    Args:
        subjects: what opens each model's runner, and the inputs to run it on.
        keep: leave models loaded for their next turn while a quarter of the memory is free: loading a network takes
            longer than running it. For runners that do nothing between two calls.
    """
    kept: dict[str, Call] = {}
    with ExitStack() as stack:

        @contextmanager
        def lend(name: str) -> Iterator[Call]:
            if name not in kept and keep and _has_room():
                kept[name] = stack.enter_context(open_call(subjects[name]))
            if name in kept:
                yield kept[name]
            else:
                with open_call(subjects[name]) as call:
                    yield call

        yield lend


def _has_room() -> bool:
    memory = psutil.virtual_memory()
    return bool(memory.available > _LEFT_FREE * memory.total)


@contextmanager
def open_call(subject: Subject) -> Iterator[Call]:
    """Load a model and lend the call that runs it."""
    open_runner, inputs = subject
    with open_runner() as runner:
        yield lambda: runner.run(inputs)


def latency_of(turns: Sequence[Turn]) -> Latency:
    """The latency that counts after these turns, which are in nanoseconds."""
    median_ns, p90_ns, samples = quietest(turns)
    return Latency(median_ms=median_ns / 1e6, p90_ms=p90_ns / 1e6, samples=samples)
