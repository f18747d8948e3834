import json

import pytest

from hardware_profiles import BadKit
from hardware_profiles.measure.table import Started
from tests.conftest import refused

SETTINGS = {"id": "board", "threads": 1}
TURNS = {"a": [(1.0, 2.0, 3), (4.0, 5.0, 6)], "b": [(7.0, 8.0, 9)]}


def test_what_was_saved_is_loaded_again_and_nothing_is_a_beginning(tmp_path):
    started = Started(tmp_path / "sub" / "s.json", SETTINGS)
    assert started.load(["a", "b"]) == {"a": [], "b": []}
    started.save(TURNS)
    assert Started(tmp_path / "sub" / "s.json", SETTINGS).load(["a", "b", "c"]) == TURNS | {"c": []}
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["s.json"]
    started.finish()
    assert list((tmp_path / "sub").iterdir()) == []


def test_it_is_written_every_few_seconds_and_when_asked(tmp_path):
    now = [0.0]
    started = Started(tmp_path / "s.json", SETTINGS, clock=lambda: now[0])
    started.save({"a": []})
    started.save(TURNS)
    assert Started(tmp_path / "s.json", SETTINGS).load("a") == {"a": []}
    started.save(TURNS, now=True)
    assert Started(tmp_path / "s.json", SETTINGS).load("a") == {"a": TURNS["a"]}
    now[0] = 60.0
    started.save({"a": []})
    assert Started(tmp_path / "s.json", SETTINGS).load("a") == {"a": []}


def test_other_settings_are_refused_by_name_with_what_to_do(tmp_path):
    Started(tmp_path / "s.json", SETTINGS).save(TURNS)
    with pytest.raises(BadKit, match=r"started with threads 1, now it is 2; remove the file to start over"):
        Started(tmp_path / "s.json", SETTINGS | {"threads": 2}).load("a")
    with pytest.raises(BadKit, match="another version"):
        Started(tmp_path / "s.json", SETTINGS | {"more": 2}).load("a")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        "[" * 100_000,
        json.dumps({"schema": 1, "settings": SETTINGS, "turns": {"a": [[1, 2]]}}),
        json.dumps({"schema": 1, "settings": SETTINGS, "turns": {"a": [[-1, 2, 3]]}}),
        json.dumps({"schema": 1, "settings": SETTINGS, "turns": {"a": [[float("nan"), 2, 3]]}}),
        json.dumps({"schema": 1, "settings": SETTINGS, "turns": {"a": [[1, 2, True]]}}),
        json.dumps({"schema": 1, "settings": SETTINGS, "turns": {"a": [["1", 2, 3]]}}),
        json.dumps({"schema": 2, "settings": SETTINGS, "turns": {}}),
    ],
)
def test_a_file_of_anything_else_is_refused_on_one_line(tmp_path, content):
    (tmp_path / "s.json").write_text(content, "utf-8")
    with refused(BadKit, match="remove the file to start over"):
        Started(tmp_path / "s.json", SETTINGS).load("a")


def test_a_folder_that_cannot_be_written_is_an_error_on_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadKit, match="cannot be written"):
        Started(tmp_path / "file" / "s.json", SETTINGS).save(TURNS)
