import re
from dataclasses import replace

import pytest

from hardware_profiles import (
    BadProfile,
    LatencyTable,
    MissingTable,
    TableFile,
    UnknownDevice,
    find_device,
    find_table,
    keep_table,
    list_tables,
    load_table,
    probe_device,
)
from hardware_profiles.measure import processor
from hardware_profiles.tables.find import ALIASES, stray_files
from tests.conftest import refused
from tests.small_tables import DEVICE, key, table


def of(device_id: str, **changes: object):
    return replace(table({key(8): 1.0}), device=replace(DEVICE, id=device_id), **changes)


def test_a_kept_table_is_listed_and_found(tmp_path):
    kept = of("board")
    path = keep_table(kept, tmp_path / "devices")
    (file,) = [file for file in list_tables([tmp_path / "devices"]) if file.device_id == "board"]
    assert (file.net, file.resolution_px, file.path) == ("mobile", 32, path)
    assert find_table("board", net="mobile", resolution_px=32, folders=[tmp_path / "devices"]) == kept


def test_the_first_folder_that_has_a_table_wins_and_one_that_is_not_there_has_none(tmp_path):
    first, second = of("board", scale=1.0), of("board", scale=2.0)
    keep_table(second, tmp_path / "b")
    keep_table(first, tmp_path / "a")
    folders = [tmp_path / name for name in ("none", "a", "b")]
    assert find_table("board", net="mobile", resolution_px=32, folders=folders) == first


def test_an_unknown_device_lists_the_three_nearest(tmp_path):
    for name in ("board2", "board4", "board5", "zzz"):
        keep_table(of(name), tmp_path)
    with refused(UnknownDevice) as error:
        find_table("bord4", net="mobile", resolution_px=32, folders=[tmp_path])
    assert error.value.nearest[0] == "board4"
    assert set(error.value.nearest) == {"board2", "board4", "board5"}


def test_an_alias_answers_only_where_its_device_has_a_table(tmp_path):
    with pytest.raises(UnknownDevice, match=ALIASES["edge"]):
        find_device("edge", [])
    keep_table(of(ALIASES["edge"]), tmp_path)
    assert find_device("edge", list_tables([tmp_path])) == ALIASES["edge"]


def test_a_known_device_without_this_table_says_what_it_has_and_how_to_measure(tmp_path):
    keep_table(of("board", resolution_px=64), tmp_path)
    with pytest.raises(MissingTable, match=r"mobile at 64 px.*zoo devices measure --net mobile --resolution 32"):
        find_table("board", net="mobile", resolution_px=32, folders=[tmp_path])


def test_a_file_that_holds_another_table_than_its_name_says_is_refused_and_a_note_stops_nothing(tmp_path):
    path = keep_table(of("board"), tmp_path)
    other = path.rename(tmp_path / "phone.mobile-32px.yaml")
    with pytest.raises(BadProfile, match="rename"):
        find_table("phone", net="mobile", resolution_px=32, folders=[tmp_path])
    other.rename(tmp_path / "notes.yaml")
    keep_table(of("board"), tmp_path).rename(tmp_path / "board.mobile-32px.yml")
    assert find_table("board", net="mobile", resolution_px=32, folders=[tmp_path]) == of("board")
    assert stray_files([tmp_path]) == [tmp_path / "notes.yaml"]


def test_the_head_of_a_file_is_read_alone_and_checked_against_the_name(tmp_path):
    path = keep_table(of("board"), tmp_path)
    (file,) = [file for file in list_tables([tmp_path]) if file.device_id == "board"]
    assert file.head().device.id == "board" and not hasattr(file.head(), "entries")
    path.rename(tmp_path / "phone.mobile-32px.yaml")
    (file,) = [file for file in list_tables([tmp_path]) if file.device_id == "phone"]
    with pytest.raises(BadProfile, match="rename"):
        file.head()


def test_a_malformed_table_stops_only_those_who_ask_for_it(tmp_path):
    keep_table(of("good"), tmp_path)
    keep_table(of("bad"), tmp_path).write_text("schema: 1", "utf-8")
    assert find_table("good", net="mobile", resolution_px=32, folders=[tmp_path])
    with pytest.raises(BadProfile):
        find_table("bad", net="mobile", resolution_px=32, folders=[tmp_path])


def test_every_bundled_table_loads():
    for file in list_tables():
        assert file.costs().terms if file.net == "any" else file.load().entries


FILES = list_tables()
FITTED = [file for file in FILES if file.net != "any" and file.head().device.source == "fitted"]
EXACT = ("raspi4", "pixel3", "eyeriss")
PHONES = ("samsung-a50", "essential-ph-1")


def test_every_kind_of_device_has_a_representative_of_today_that_is_of_that_kind():
    for alias, device_id in ALIASES.items():
        assert find_device(alias, FILES) == device_id
        (file,) = [file for file in FILES if (file.device_id, file.net) == (device_id, "any")]
        head = file.head()
        assert head.device.kind == alias and head.validation is not None
        assert head.validation.median_percent <= 12 and head.validation.kendall_tau >= 0.88


def test_the_devices_that_the_documentation_names_are_there():
    ids = {file.device_id for file in FILES}
    assert ids >= {*EXACT, *PHONES, "titan-rtx", "titan-rtx-b32", "2080ti", "2080ti-b64", "gold-6240", "silver-4114"}


@pytest.mark.parametrize("file", FITTED, ids=lambda file: file.device_id)
def test_a_fitted_table_predicts_a_thousand_unseen_networks_as_well_as_promised(file: TableFile):
    head = file.head()
    limit = 0.1 if head.device.id in EXACT else 11 if head.device.id in PHONES else 2.5
    assert head.validation.networks == 1000 and head.validation.mape_percent <= limit
    assert head.validation.spearman_rho is not None
    assert head.device.license == "MIT" and "HELP" in head.device.reference


@pytest.fixture(scope="module")
def tables() -> list[LatencyTable]:
    return [file.load() for file in FITTED[:3]]


def test_a_fitted_table_keeps_the_networks_of_its_plot_and_its_blocks(tables):
    for one in tables:
        assert (len(one.checks), len(one.entries)) == (200, 104)
        errors = [abs(check.predicted_ms / check.measured_ms - 1) for check in one.checks]
        assert 100 * sum(errors) / 200 == pytest.approx(one.validation.mape_percent, rel=0.5)


@pytest.mark.parametrize("file", [file for file in FILES if file.net == "any"], ids=lambda file: file.device_id)
def test_a_cost_model_that_misses_its_goal_says_so(file: TableFile):
    head = file.head()
    good = head.validation.median_percent <= 12 and head.validation.kendall_tau >= 0.88
    assert good != ("short of" in head.device.reference) and head.device.license and "http" not in head.device.id


def test_a_server_of_today_is_measured_at_every_size_of_photos_with_heads():
    known = [file.load() for file in FILES if file.device_id.startswith("xeon-amx")]
    assert [t.resolution_px for t in known if t.net == "resnet-ar50to101"] == [224]
    measured = [t for t in known if t.net == "mobile-photo"]
    assert {(t.resolution_px, t.device.precision, t.device.threads) for t in measured} == {
        *((px, "fp32", 1) for px in (96, 128, 160, 224, 320)),
        (224, "int8", 1),
        (224, "fp32", 2),
    }
    for one in measured:
        kinds = {key.kind for key in one.entries}
        assert {"det_lateral", "det_up", "det_predict", "seg_high", "seg_predict"} <= kinds
        if one.resolution_px in (160, 224) and one.device.precision == "fp32" and one.device.threads == 1:
            assert one.validation.networks >= 100 and one.validation.mape_percent <= 4


def test_this_machine_is_described_the_same_way_each_time_and_its_id_tells_threads_precision_and_batch_apart():
    changes = ({}, {"threads": 2}, {"precision": "int8"}, {"batch": 8})
    first, again = ([probe_device(**{"threads": 1} | change) for change in changes] for _ in range(2))
    assert first == again
    ids = {device.id for device in first}
    assert len(ids) == 4 and all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", device_id) for device_id in ids)


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
