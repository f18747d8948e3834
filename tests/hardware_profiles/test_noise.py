import pytest
import torch

import hardware_profiles.timing.noise
from hardware_profiles import NoisyMachine
from hardware_profiles.timing.noise import (
    LIMIT_CORES,
    NoiseWatch,
    Patience,
    Sample,
    advise_threads,
    refuse_noise,
    sample,
    take_free_threads,
)


def watch(*seconds: tuple[float, float, float]) -> NoiseWatch:
    """A watch to which each look is a second later, others, this process and the hypervisor having worked so long."""
    samples, busy_s, own_s, stolen_s = [Sample(wall_s=0, busy_s=5, own_s=5, stolen_s=5)], 5.0, 5.0, 5.0
    for i, (others, own, stolen) in enumerate(seconds, start=1):
        busy_s, own_s, stolen_s = busy_s + others + own + stolen, own_s + own, stolen_s + stolen
        samples.append(Sample(wall_s=i, busy_s=busy_s, own_s=own_s, stolen_s=stolen_s))
    return NoiseWatch(iter(samples).__next__)


def test_own_work_is_no_noise():
    looks = watch((0, 0, 0), (0, 1, 0), (LIMIT_CORES - 0.01, 2, 0))
    assert [looks.noise() for _ in range(3)] == [None] * 3


def test_the_work_of_others_is_and_so_is_what_the_hypervisor_takes():
    looks = watch((1, 1, 0), (0, 1, 0.8))
    assert "other work keeps 1.00 cores busy" in looks.noise()
    assert looks.noise() == "the hypervisor took 0.80 cores away"


def test_another_measurement_beside_this_one_is_noise_to_both():
    assert watch((1, 1, 0)).others()[0] == pytest.approx(1)


def test_a_busy_machine_is_refused_before_anything_is_timed_with_what_to_do():
    with pytest.raises(NoisyMachine, match=r"not quiet: other work keeps 0\.90 cores busy.*--force"):
        refuse_noise(watch((0, 0, 0), (0.9, 0, 0)), sleep=lambda seconds: None)
    refuse_noise(watch((5, 0, 0), (0.1, 0, 0)), sleep=lambda seconds: None)


def test_a_burst_is_waited_out_and_lasting_noise_is_not():
    patience = Patience(watch(*[(1, 1, 0)] * 2, *[(0, 1, 0)] * 3, (1, 1, 0)))
    for _ in range(6):
        patience()
    patience = Patience(watch(*[(1, 1, 0)] * 4))
    for _ in range(3):
        patience()
    with pytest.raises(NoisyMachine, match="4 of 4 rounds were disturbed"):
        patience()


def test_this_machine_s_counters_only_grow_and_own_work_is_part_of_all():
    before = sample()
    sum(i * i for i in range(300_000))
    after = sample()
    assert after.wall_s > before.wall_s and after.own_s >= before.own_s and after.busy_s >= before.busy_s
    assert NoiseWatch().others()[0] >= 0


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
    monkeypatch.setattr(hardware_profiles.timing.noise, "NoiseWatch", Watch)
    monkeypatch.setattr(hardware_profiles.timing.noise, "_THREADS_LOOK_S", 0)
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
