from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from hardware_profiles import (
    BadKit,
    MeasureFailed,
    MissingRuntime,
    Network,
    NoisyMachine,
    OpKey,
    ScriptedClock,
    ScriptedRunner,
    estimate_ms,
    load_table,
    measure_table,
    save_table,
)
from hardware_profiles.timing.timing import lender
from tests.small_tables import BLOCKS, DEVICE, NETWORKS, SIDE_PX, conv


class Disturbed(ScriptedRunner):
    """A burst of noise, in which runs take twice as long, comes and goes."""

    def __init__(self, duration_ns: int, clock: ScriptedClock) -> None:
        super().__init__({}, durations_ns=[duration_ns], clock=clock)
        self._duration_ns, self._time = duration_ns, clock

    def run(self, inputs):
        if 10**8 < self._time.now_ns < 2 * 10**8:
            self._time.now_ns += self._duration_ns
        return super().run(inputs)


def fake_machine(clock: ScriptedClock, dispatch_ns: int, cold: float = 1.0):
    """Runs take a dispatch, and 100 ns a weight, ``cold`` times that in a network; sometimes they are disturbed."""

    def open_runner(path: Path) -> ScriptedRunner:
        initializers = onnx.load(path).graph.initializer
        sizes = [numpy_helper.to_array(i).size for i in initializers if len(i.dims) == 4 and i.dims[2] == 3]
        duration_ns = dispatch_ns + round(100 * sum(sizes) * (cold if len(sizes) > 1 else 1.0))
        return Disturbed(duration_ns, clock)

    return open_runner


def measured(dispatch_ns: int = 50_000, calibrate_on: int = 4, **changes):
    clock = ScriptedClock()
    arguments = {
        "net": "chain",
        "resolution_px": SIDE_PX,
        "device": DEVICE,
        "calibrate_on": calibrate_on,
        "open_runner": fake_machine(clock, dispatch_ns),
        "clock": clock,
    }
    return measure_table(BLOCKS, NETWORKS, **(arguments | changes))


def test_networks_of_measured_blocks_are_predicted():
    table = measured()
    assert table.validation is not None
    assert table.validation.networks == 3
    assert table.validation.mape_percent < 0.1
    assert table.validation.kendall_tau == 1
    assert table.overhead_ms == pytest.approx(0.05, rel=1e-3)
    for network in NETWORKS:
        weights = sum(9 * key.c_in * key.c_out for key in network.ops)
        assert estimate_ms(table, network.ops) == pytest.approx(0.05 + weights / 1e4, rel=1e-3)


def test_the_cost_of_calling_the_runtime_is_not_part_of_a_block():
    cheap, dear = measured(dispatch_ns=20_000), measured(dispatch_ns=500_000)
    for key, latency in cheap.entries.items():
        assert latency.median_ms == pytest.approx(9 * key.c_in * key.c_out / 1e4, abs=1e-5)
        assert dear.entries[key].median_ms == pytest.approx(latency.median_ms, abs=1e-5)


def test_what_networks_cost_beyond_their_blocks_is_calibrated():
    clock = ScriptedClock()
    table = measured(open_runner=fake_machine(clock, 1000, cold=1.3), clock=clock, calibrate_on=6)
    assert table.scale == pytest.approx(1.3, rel=0.1)


def test_without_unseen_networks_there_is_no_validation():
    assert measured(calibrate_on=len(NETWORKS)).validation is None


def test_a_measured_table_survives_its_file(tmp_path):
    table = measured()
    assert load_table(save_table(table, tmp_path / "t.yaml")) == table


def test_progress_reaches_the_end_of_both_stages():
    steps = []
    measured(progress=lambda *step: steps.append(step))
    total = len(BLOCKS) + len(NETWORKS)
    assert [step for step in steps if step[0] == "export"] == [("export", i + 1, total) for i in range(total)]
    assert steps[-1] == ("time", 16, 16)


def test_measuring_leaves_the_global_random_state_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    measured()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("calibrate_on", [0, len(NETWORKS) + 1])
def test_too_few_networks_to_calibrate_on_are_refused(calibrate_on):
    with pytest.raises(MeasureFailed, match=f"calibrate_on is {calibrate_on}"):
        measured(calibrate_on=calibrate_on)


def test_a_network_with_a_block_that_is_not_timed_is_refused_by_name():
    with pytest.raises(MeasureFailed, match="conv 8>16 k3"):
        measure_table(
            {key: build for key, build in BLOCKS.items() if key.c_out != 16},
            NETWORKS,
            net="chain",
            resolution_px=SIDE_PX,
            device=DEVICE,
            calibrate_on=3,
        )


def test_blocks_that_take_no_time_are_an_error_not_a_table_of_zeros():
    with pytest.raises(MeasureFailed, match="no longer than empty ones"):
        measured(open_runner=lambda path: ScriptedRunner({}, durations_ns=[0], clock=ScriptedClock()))


def stop_after(steps: int):
    """Progress that is interrupted while it times."""
    left = iter(range(steps))

    def progress(stage: str, done: int, of: int) -> None:
        if stage == "time" and next(left, None) is None:
            raise KeyboardInterrupt

    return progress


def test_an_interrupted_measurement_goes_on_where_it_stopped(tmp_path):
    started, whole = tmp_path / ".started.json", measured()
    with pytest.raises(KeyboardInterrupt):
        measured(started=started, progress=stop_after(5))
    steps = []
    table = measured(started=started, progress=lambda *step: steps.append(step))
    assert [step for step in steps if step[0] == "time"] == [("time", i, 16) for i in range(7, 17)]
    assert {key: entry.median_ms for key, entry in table.entries.items()} == pytest.approx(
        {key: entry.median_ms for key, entry in whole.entries.items()}, abs=1e-5
    )
    assert list(tmp_path.iterdir()) == []


def test_what_was_started_with_other_settings_is_refused(tmp_path):
    started = tmp_path / ".started.json"
    with pytest.raises(KeyboardInterrupt):
        measured(started=started, progress=stop_after(2))
    for changes in ({"rounds": 3}, {"seed": 1}, {"device": replace(DEVICE, threads=2)}, {"resolution_px": 16}):
        with pytest.raises(BadKit, match="remove the file to start over"):
            measured(started=started, **changes)
    assert measured(started=started).entries


def test_models_that_do_not_settle_get_more_turns():
    clock = ScriptedClock()

    def open_runner(path: Path) -> ScriptedRunner:
        rng = np.random.default_rng(clock.now_ns % 2**32)
        return ScriptedRunner({}, durations_ns=[int(5e5 * rng.uniform(1, 50))], clock=clock)

    steps = []
    arguments = {"open_runner": open_runner, "clock": clock, "rounds": 3, "progress": lambda *s: steps.append(s)}
    try:
        measured(**arguments, device=replace(DEVICE, threads=2))
    except MeasureFailed:
        pass  # of such times no table can be made
    assert ("settle", 1, 3) in steps and len([step for step in steps if step[0] == "settle"]) <= 3


@pytest.mark.parametrize(("threads", "loads"), [(1, 1), (2, 4)])
def test_with_one_thread_a_model_is_loaded_once_and_with_more_for_each_turn(threads, loads):
    clock, opened = ScriptedClock(), []
    machine = fake_machine(clock, 50_000)

    def open_runner(path: Path) -> ScriptedRunner:
        opened.append(path.name)
        return machine(path)

    table = measured(
        open_runner=open_runner, clock=clock, rounds=4, calibrate_on=4, device=replace(DEVICE, threads=threads)
    )
    assert table.entries and all(opened.count(name) >= loads for name in opened)
    assert threads > 1 or len(set(opened)) == len(opened)


def test_models_are_loaded_for_each_turn_where_memory_is_short(monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=100, available=25))
    opened = []

    def open_runner() -> ScriptedRunner:
        opened.append(1)
        return ScriptedRunner({}, durations_ns=[1], clock=ScriptedClock())

    with lender({"a": (open_runner, {})}, keep=True) as lend:
        for _ in range(3):
            with lend("a") as call:
                call()
    assert len(opened) == 3


def test_lasting_noise_ends_the_measurement_and_what_was_timed_is_kept(tmp_path):
    class Busy:
        def noise(self) -> str:
            return "other work keeps 1.00 cores busy"

    with pytest.raises(NoisyMachine, match="4 of 4 rounds were disturbed: other work"):
        measured(started=tmp_path / ".started.json", watch=Busy())
    assert [path.name for path in tmp_path.iterdir()] == [".started.json"]


def test_in_int8_the_empty_block_s_own_work_is_not_taken_off():
    """Convolutions and empty blocks alike take 10 us, borders 50 us in all."""
    clock = ScriptedClock()

    def open_runner(path: Path) -> ScriptedRunner:
        convs = sum(node.op_type == "Conv" for node in onnx.load(path).graph.node)
        return ScriptedRunner({}, durations_ns=[50_000 + 10_000 * convs], clock=clock)

    table = measured(open_runner=open_runner, clock=clock, device=replace(DEVICE, precision="int8"))
    assert {entry.median_ms for entry in table.entries.values()} == {0.01}
    assert table.overhead_ms == pytest.approx(0.05) and table.scale == pytest.approx(1)


def test_a_table_keeps_the_networks_that_checked_it():
    table = measured()
    assert len(table.checks) == table.validation.networks == 3
    assert all(check.predicted_ms == pytest.approx(check.measured_ms, rel=0.01) for check in table.checks)


def test_a_runtime_that_is_not_here_is_refused_before_anything_is_timed():
    with pytest.raises(MissingRuntime, match="no runtime is called 'none'"):
        measured(open_runner=None, device=replace(DEVICE, runtime="none"))


def test_the_real_runtime_gives_a_table_with_a_time_for_every_block():
    key = OpKey(kind="conv", c_in=32, c_out=32, kernel=3, height_px=32, width_px=32)
    networks = [
        Network(
            ops=(key,) * depth,
            build=lambda depth=depth: nn.Sequential(*(conv(32, 32) for _ in range(depth))),
            input_nchw=(1, 32, 32, 32),
        )
        for depth in (1, 2, 3, 4)
    ]
    build = {key: partial(conv, 32, 32)}
    table = measure_table(build, networks, net="chain", resolution_px=32, device=DEVICE, calibrate_on=3, rounds=2)
    assert table.entries[key].median_ms > 0
    assert table.scale > 0
    assert table.validation is not None
