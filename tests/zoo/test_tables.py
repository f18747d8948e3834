from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import zoo.devices.tables
from hardware_profiles.errors import MissingTable, UnknownDevice
from hardware_profiles.tables.find import ALIASES, keep_table
from hardware_profiles.types import LatencyTable
from search.nets import NETS
from zoo.devices.tables import device_id, measure_here, spread, table_for, this_device
from zoo.errors import UnknownName


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, own_table: LatencyTable) -> list[tuple[str, int]]:
    """Measuring ends at once; what was measured, as it happens."""
    asked: list[tuple[str, int]] = []

    def measure(net: str, resolution_px: int, **kwargs: object) -> LatencyTable:
        asked.append((net, resolution_px))
        return own_table

    monkeypatch.setattr(zoo.devices.tables, "measure_here", measure)
    return asked


def test_this_machine_is_measured_once(
    measured: list[tuple[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_table: LatencyTable
) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    tables = [table_for(name, "mobile", 16) for name in ("this", "this", this_device().id)]
    assert [table.latencies for table in tables] == [own_table] * 3 and all(table.here for table in tables)
    assert measured == [("mobile", 16)]


def test_a_device_without_a_table_of_the_net_is_known_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    with pytest.raises(MissingTable, match="device 'raspi4' has no table of cell at 32 px; it has mobile at 32 px"):
        table_for("raspi4", "cell", 32)


def test_a_table_of_another_runtime_version_or_a_damaged_one_is_measured_again(
    measured: list[tuple[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_table: LatencyTable
) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    path = keep_table(replace(own_table, device=replace(own_table.device, runtime_version="0.1")), tmp_path / "devices")
    table_for("this", "mobile", 16)
    assert len(measured) == 1
    path.write_text("schema: 1\n")
    said: list[str] = []
    table_for("this", "mobile", 16, say=said.append)
    assert len(measured) == 2 and "measuring again" in said[0]


def test_a_doubtful_table_is_said_to_be_one(
    measured: list[tuple[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_table: LatencyTable
) -> None:
    assert own_table.validation is not None
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    keep_table(replace(own_table, validation=replace(own_table.validation, mape_percent=25.0)), tmp_path / "devices")
    said: list[str] = []
    table_for("this", "mobile", 16, say=said.append)
    assert any("25 % off" in line for line in said) and not measured


def test_an_unknown_device_or_net_names_the_nearest(home: Path) -> None:
    with pytest.raises(UnknownDevice, match="nearest: "):
        table_for("pixel9000", "mobile", 16)
    with pytest.raises(UnknownName, match="nearest: mobile"):
        measure_here("mobil", 16, threads=None)


def test_threads_are_part_of_the_machine() -> None:
    assert this_device(1).id != this_device(2).id
    assert (
        device_id("this") == this_device().id
        and device_id("edge") == ALIASES["edge"]
        and device_id("raspi4") == "raspi4"
    )


def test_networks_to_measure_are_of_all_sizes_and_the_same_for_a_seed() -> None:
    net = NETS["mobile"]
    networks = spread(net, 32, 25, seed=0)
    levels = net.encode(networks).mean(axis=1) / np.mean([len(choice.options) - 1 for choice in net.space])
    assert levels.min() == 0 and levels.max() == 1 and 0.2 < np.std(levels) < 0.4
    assert networks == spread(net, 32, 25, seed=0) != spread(net, 32, 25, seed=1)
