from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hardware_profiles import (
    BadTimes,
    LatencyTable,
    MissingOp,
    MissingTable,
    UnknownDevice,
    find_table,
)
from hardware_profiles.estimate import estimate_ms
from hardware_profiles.tables.find import keep_table
from search.nets import NETS
from tests.small_tables import DEVICE
from zoo.devices.onboard import (
    adapt_device,
    fit_device,
    known_tables,
    sample_networks,
    validate_table,
    write_networks,
)
from zoo.devices.this_machine import spread
from zoo.devices.times import times_text
from zoo.errors import UnknownName
from zoo.home import own_tables

NET = NETS["mobile"]
PROFILE = replace(DEVICE, id="board", memory_bytes=0)


@pytest.fixture(scope="module")
def pixel3() -> LatencyTable:
    return find_table("pixel3", net="mobile", resolution_px=32)


@pytest.fixture(autouse=True)
def no_own_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))


def timed(folder: Path, networks, table: LatencyTable, factor: float) -> Path:
    path = folder / "times.csv"
    path.write_text(times_text(networks, [factor * estimate_ms(table, NET.ops(one)) for one in networks]), "utf-8")
    return path


def test_a_phone_twice_as_slow_is_adapted_from_ten_networks(tmp_path: Path, pixel3: LatencyTable) -> None:
    times = timed(tmp_path, sample_networks("mobile", 32, 10), pixel3, 2.0)
    table = adapt_device(times, "mobile", 32, like="pixel3", device_id="new", chip="New", reference="me")
    about = table.device
    assert (about.id, about.kind, about.runtime, about.source) == ("new", "mobile", "TensorFlow Lite", "estimated")
    assert "MIT" in about.license and "pixel3" in about.reference
    for one in spread(NET, 32, 20, seed=5):
        assert estimate_ms(table, NET.ops(one)) == pytest.approx(2 * estimate_ms(pixel3, NET.ops(one)), rel=0.01)
    assert validate_table(table, times).mape_percent < 1
    assert validate_table(table, None) == table.validation


def test_a_table_is_fitted_from_hundreds_of_networks(tmp_path: Path, pixel3: LatencyTable) -> None:
    times = timed(tmp_path, sample_networks("mobile", 32, 300), pixel3, 3.0)
    table = fit_device(times, "mobile", 32, PROFILE)
    assert table.device.source == "fitted" and table.validation is not None
    assert table.validation.networks == 60 and table.validation.mape_percent < 0.1


def test_unknown_nets_and_devices_and_missing_tables_are_named(tmp_path: Path, pixel3: LatencyTable) -> None:
    times = timed(tmp_path, sample_networks("mobile", 32, 5), pixel3, 1.0)
    given = {"device_id": "new", "chip": "-", "reference": "-"}
    with pytest.raises(UnknownName, match="nearest: mobile"):
        sample_networks("mobil", 32, 3)
    with pytest.raises(UnknownDevice, match="nearest: "):
        adapt_device(times, "mobile", 32, like="pixel9", **given)
    with pytest.raises(MissingTable, match="mobile at 64 px"):
        adapt_device(times, "mobile", 64, like="pixel3", **given)
    with pytest.raises(BadTimes, match="5 networks are too few"):
        fit_device(times, "mobile", 32, PROFILE)


def test_sampled_networks_differ_repeat_and_hold_every_option_when_there_are_many() -> None:
    few = sample_networks("mobile", 32, 10)
    assert len(set(few)) == 10 and few == sample_networks("mobile", 32, 10)
    rows = NET.encode(sample_networks("mobile", 32, 200))
    assert all(set(rows[:, i]) == set(range(len(choice.options))) for i, choice in enumerate(NET.space))


def test_networks_are_written_for_timing(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    paths = write_networks([NET.smallest(16)], tmp_path / "onnx", batch=2)
    assert paths == [tmp_path / "onnx" / "net-00.onnx"] == list((tmp_path / "onnx").iterdir())
    session = onnxruntime.InferenceSession(paths[0], providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: np.zeros((2, 3, 16, 16), np.float32)})
    assert output.shape == (2, 1504)


def test_a_table_that_lacks_a_block_is_not_valid(own_table: LatencyTable) -> None:
    entries = dict(list(own_table.entries.items())[1:])  # the last ones are a head's
    with pytest.raises(MissingOp):
        validate_table(replace(own_table, entries=entries), None)


def test_estimates_are_not_mixed_into_further_estimates(tmp_path: Path, pixel3: LatencyTable) -> None:
    before = {table.device.id for table in known_tables("mobile", 32)}
    keep_table(replace(pixel3, device=replace(pixel3.device, id="new", source="estimated")), own_tables())
    keep_table(replace(pixel3, device=replace(pixel3.device, id="other", source="measured")), own_tables())
    assert {table.device.id for table in known_tables("mobile", 32)} == before | {"other"}
