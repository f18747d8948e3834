import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles import ScriptedClock, ScriptedRunner, time_call, time_runners
from tests.small_tables import FEW

MS = 1_000_000


def script(clock: ScriptedClock, durations_ns: list[int]) -> ScriptedRunner:
    return ScriptedRunner({"output": np.zeros(1)}, durations_ns=durations_ns, clock=clock)


@FEW
@given(st.integers(1, 10**9))
def test_a_constant_duration_is_measured_exactly(duration_ns):
    clock = ScriptedClock()
    latency = time_call(lambda: script(clock, [duration_ns]).run({}), clock=clock)
    assert latency.median_ms == pytest.approx(duration_ns / MS, rel=1e-12)
    assert latency.p90_ms == pytest.approx(duration_ns / MS, rel=1e-12)


def test_median_and_p90_are_those_of_the_script():
    clock = ScriptedClock()
    runner = script(clock, [MS * d for d in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)])
    latency = time_call(lambda: runner.run({}), clock=clock, rounds=1, warmup=11, min_samples=11, max_seconds=10)
    assert (latency.median_ms, latency.p90_ms, latency.samples) == (6.0, 10.0, 22)


def test_a_call_too_short_for_the_clock_is_timed_in_batches():
    clock, calls = ScriptedClock(), []
    latency = time_call(lambda: (calls.append(1), setattr(clock, "now_ns", clock.now_ns + 10_000)), clock=clock)
    assert latency.median_ms == 0.01
    assert len(calls) == 5 * 3 + 5 * latency.samples


def test_warm_up_calls_do_not_count():
    clock = ScriptedClock()
    slow_start = iter([500 * MS] * 3 + [MS] * 1000)
    advance = lambda: setattr(clock, "now_ns", clock.now_ns + next(slow_start))  # noqa: E731
    assert time_call(advance, clock=clock, rounds=1, warmup=3, max_seconds=60).p90_ms == 1.0


def test_samples_double_until_the_median_rests():
    clock = ScriptedClock()
    drift = iter([MS] + [MS * d for d in range(1, 20)] + [40 * MS] * 10_000)
    advance = lambda: setattr(clock, "now_ns", clock.now_ns + next(drift))  # noqa: E731
    latency = time_call(advance, clock=clock, rounds=1, warmup=1, min_samples=10, max_seconds=1e6)
    assert latency.samples == 80
    assert latency.median_ms == 40.0


def test_a_round_ends_after_its_time_but_not_before_its_fewest_samples():
    clock = ScriptedClock()
    one_second = script(clock, [1000 * MS])
    assert time_call(lambda: one_second.run({}), clock=clock, rounds=1, min_samples=4, max_seconds=0.1).samples == 4


def test_the_quietest_round_counts_and_the_samples_of_all():
    clock = ScriptedClock()
    noisy = iter([9 * MS] * 23 + [2 * MS] * 23 + [7 * MS] * 23)
    advance = lambda: setattr(clock, "now_ns", clock.now_ns + next(noisy))  # noqa: E731
    latency = time_call(advance, clock=clock, rounds=3, max_seconds=60)
    assert (latency.median_ms, latency.p90_ms, latency.samples) == (2.0, 2.0, 60)


def test_models_take_turns_so_that_a_burst_of_noise_changes_none_of_them():
    clock = ScriptedClock()

    class Disturbed(ScriptedRunner):
        def run(self, inputs):
            if 20 * MS < clock.now_ns < 400 * MS:
                clock.now_ns += 50 * MS
            return super().run(inputs)

    def opener(duration_ns):
        return lambda: Disturbed({}, durations_ns=[duration_ns], clock=clock)

    latencies = time_runners([(opener(MS), {}), (opener(3 * MS), {}), (opener(2 * MS), {})], clock=clock)
    assert [latency.median_ms for latency in latencies] == [1.0, 3.0, 2.0]


def test_only_one_runner_is_open_at_a_time_and_all_are_closed():
    clock, events = ScriptedClock(), []

    class Watched(ScriptedRunner):
        def __enter__(self):
            events.append("open")
            return super().__enter__()

        def __exit__(self, *error):
            events.append("close")

    rounds: list[int] = []
    subject = (lambda: Watched({}, durations_ns=[MS], clock=clock), {})
    time_runners([subject, subject], clock=clock, rounds=3, progress=rounds.append)
    assert events == ["open", "close"] * 6
    assert rounds == [1, 2, 3]
