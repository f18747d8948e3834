import re
from dataclasses import replace

import pytest
from small_tables import key, table

from hardware_profiles import keep_table, load_table, probe_device
from hardware_profiles.runners import processor
from hardware_profiles.tables.find import list_tables


def test_this_machine_is_described_the_same_way_each_time():
    assert probe_device(threads=2) == probe_device(threads=2)


def test_the_id_tells_threads_precision_and_batch_apart():
    ids = {
        probe_device(threads=1).id,
        probe_device(threads=2).id,
        probe_device(threads=1, precision="int8").id,
        probe_device(threads=1, batch=8).id,
    }
    assert len(ids) == 4
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", device_id) for device_id in ids)


def test_the_profile_can_be_kept_and_listed(tmp_path):
    mine = replace(table({key(8): 1.0}), device=probe_device(threads=1))
    assert load_table(keep_table(mine, tmp_path)) == mine
    assert mine.device.id in {file.device_id for file in list_tables([tmp_path])}


@pytest.mark.parametrize(
    ("cpuinfo", "chip", "device_id"),
    [
        (
            "model name\t: Intel(R) Xeon(R)   CPU @ 2.20GHz\nflags : avx2 avx512f avx512_vnni amx_tile\n\nflags: x",
            "Intel(R) Xeon(R) CPU @ 2.20GHz, 2 cores, amx, avx512, vnni",
            "intel-xeon-cpu-2-20ghz-2-cores-amx-avx512-vnni-t1-fp32",
        ),
        (
            "model name : Cortex-A72\nFeatures : fp asimd",
            "Cortex-A72, 2 cores, neon",
            "cortex-a72-2-cores-neon-t1-fp32",
        ),
    ],
)
def test_the_chip_names_processor_cores_and_what_speeds_convolutions_up(
    monkeypatch, tmp_path, cpuinfo, chip, device_id
):
    (tmp_path / "cpuinfo").write_text(cpuinfo, "utf-8")
    read = processor._cpuinfo
    monkeypatch.setattr(processor, "_cpuinfo", lambda: read(tmp_path / "cpuinfo"))
    monkeypatch.setattr(processor, "_cores", lambda: 2)
    device = probe_device(threads=1)
    assert (device.chip, device.id) == (chip, device_id)


def test_a_machine_without_that_file_is_described_too(monkeypatch):
    monkeypatch.setattr(processor, "_cpuinfo", dict)
    assert probe_device(threads=1).chip
