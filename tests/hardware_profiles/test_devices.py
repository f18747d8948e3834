from dataclasses import replace

import pytest
from small_tables import DEVICE, key, table

from hardware_profiles import (
    BadProfile,
    MissingTable,
    UnknownDevice,
    find_device,
    find_table,
    keep_table,
    list_tables,
)
from hardware_profiles.tables.find import ALIASES, stray_files


def of(device_id: str, **changes: object):
    return replace(table({key(8): 1.0}), device=replace(DEVICE, id=device_id), **changes)


def test_a_kept_table_is_listed_and_found(tmp_path):
    kept = of("board")
    path = keep_table(kept, tmp_path / "devices")
    (file,) = [file for file in list_tables([tmp_path / "devices"]) if file.device_id == "board"]
    assert (file.net, file.resolution_px, file.path) == ("mobile", 32, path)
    assert find_table("board", net="mobile", resolution_px=32, folders=[tmp_path / "devices"]) == kept


def test_the_first_folder_that_has_a_table_wins(tmp_path):
    first, second = of("board", scale=1.0), of("board", scale=2.0)
    keep_table(second, tmp_path / "b")
    keep_table(first, tmp_path / "a")
    assert find_table("board", net="mobile", resolution_px=32, folders=[tmp_path / "a", tmp_path / "b"]) == first


def test_a_folder_that_does_not_exist_holds_no_table(tmp_path):
    assert list_tables([tmp_path / "none"]) == list_tables()


def test_an_unknown_device_lists_the_three_nearest(tmp_path):
    for name in ("board2", "board4", "board5", "zzz"):
        keep_table(of(name), tmp_path)
    with pytest.raises(UnknownDevice) as error:
        find_table("bord4", net="mobile", resolution_px=32, folders=[tmp_path])
    assert error.value.nearest[0] == "board4"
    assert set(error.value.nearest) == {"board2", "board4", "board5"}
    assert "\n" not in str(error.value)


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
