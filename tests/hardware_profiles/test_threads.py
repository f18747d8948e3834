"""On a busy machine a computation takes the threads that are free, or says what to set."""

import pytest
import torch

import hardware_profiles.timing.threads as timing_threads
from hardware_profiles.timing.threads import advise_threads, take_free_threads


class Watch:
    """As ``NoiseWatch``, on a machine that others keep busy."""

    busy = 0.0

    def others(self) -> tuple[float, float]:
        return self.busy, 0.0


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A machine of 4 cores; the numbers of threads that torch was told to take."""
    taken = [4]
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(timing_threads, "NoiseWatch", Watch)
    monkeypatch.setattr(timing_threads, "_LOOK_S", 0)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: range(4), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: taken[-1])
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    advise_threads.cache_clear()
    return taken


@pytest.mark.parametrize(("busy", "left"), [(0.2, 4), (1.1, 3), (3.0, 1), (9.0, 1)])
def test_a_command_computes_on_the_cores_that_are_free(
    threads: list[int], monkeypatch: pytest.MonkeyPatch, busy: float, left: int
) -> None:
    monkeypatch.setattr(Watch, "busy", busy)
    said: list[str] = []
    take_free_threads(said.append)
    assert threads[-1] == left
    assert len(said) == (left < 4) and all(f"computing with {left} of 4 threads" in line for line in said)


def test_a_program_of_somebody_else_is_told_once_and_left_alone(
    threads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watch, "busy", 3.0)
    said: list[str] = []
    say = said.append
    advise_threads(say)
    advise_threads(say)
    assert threads == [4] and len(said) == 1 and "set OMP_NUM_THREADS=1" in said[0]


def test_whoever_set_the_variable_has_decided(threads: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watch, "busy", 3.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    take_free_threads(lambda line: pytest.fail(line))
    assert threads == [4]
