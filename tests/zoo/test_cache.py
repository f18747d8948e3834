import os
import shutil
import time
from pathlib import Path

import pytest

from zoo.catalogue.cache import clean, list_cache
from zoo.errors import BadHome
from zoo.home import home_folder, zoo_home
from zoo.package.staging import STALE_S, staged


@pytest.fixture
def cache(tmp_path: Path, pristine: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two packages, a damaged one, one from the Hub, somebody else's model, and what killed processes left."""
    home, hub = tmp_path / "home", tmp_path / "hf" / "hub"
    monkeypatch.setenv("ZOO_HOME", str(home))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    shutil.copytree(pristine, home / "packages" / "one")
    shutil.copytree(pristine, home / "packages" / "bad")
    (home / "packages" / "bad" / "perf.yaml").write_text("")
    for age_s, name in ((0, ".two.0a1b2c3d.partial"), (2 * STALE_S, ".three.0a1b2c3d.partial")):
        draft = home / "packages" / name
        draft.mkdir()
        (draft / "x").write_bytes(b"12345")
        for path in (draft / "x", draft):
            os.utime(path, (time.time() - age_s,) * 2)
    (home / "supernets" / "mine").mkdir(parents=True)
    (home / "devices").mkdir()
    for repo, files in (("acme--signs", pristine), ("acme--bert", None)):
        commit = hub / f"models--{repo}" / "snapshots" / ("a" * 40)
        blobs = hub / f"models--{repo}" / "blobs"
        blobs.mkdir(parents=True)
        commit.mkdir(parents=True)
        (hub / f"models--{repo}" / "refs").mkdir()
        (hub / f"models--{repo}" / "refs" / "main").write_text("a" * 40)
        for path in files.rglob("*") if files else ():
            if path.is_file():
                link = commit / path.relative_to(files)
                link.parent.mkdir(exist_ok=True)
                shutil.copyfile(path, blobs / path.name)
                link.symlink_to(blobs / path.name)
    return tmp_path


def test_the_list_has_all_kinds_with_their_sizes(cache: Path, pristine: Path) -> None:
    kept = {(one.kind, one.name): one.bytes for one in list_cache()}
    whole = sum(path.stat().st_size for path in pristine.rglob("*") if path.is_file())
    assert kept.pop(("leftover", ".three.0a1b2c3d.partial")) == 5
    assert kept.pop(("damaged", "bad")) < whole
    assert kept == {("made", "data-mocov2-cls-1ms@bench"): whole, ("hub", "acme/signs"): whole}


def test_cleaning_removes_what_is_damaged_or_left_over_only(cache: Path) -> None:
    would = clean(dry_run=True)
    assert {one.kind for one in would} == {"damaged", "leftover"} and list_cache() != []
    assert clean() == would
    assert {one.kind for one in list_cache()} == {"made", "hub"} and clean() == []
    assert (cache / "home" / "packages" / ".two.0a1b2c3d.partial").is_dir()


def test_a_pattern_removes_packages_by_name_and_nothing_of_others(cache: Path) -> None:
    assert {one.name for one in clean("acme/*") if one.kind == "hub"} == {"acme/signs"}
    assert {path.name for path in (cache / "hf" / "hub").glob("models--*")} == {"models--acme--bert"}
    clean("*")
    assert list_cache() == []
    assert (cache / "home" / "supernets" / "mine").is_dir() and (cache / "home" / "devices").is_dir()


def test_an_empty_cache_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "none"))
    assert list_cache() == clean("*") == []


def test_a_kill_between_two_renames_is_mended_by_the_next_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.package.staging._RENAMES_S", -1.0)
    old = tmp_path / ".out.0a1b2c3d.old"
    old.mkdir()
    (old / "mark").write_text("earlier")
    with pytest.raises(ZeroDivisionError), staged(tmp_path / "out", mark="mark", overwrite=True):
        raise ZeroDivisionError
    assert (tmp_path / "out" / "mark").read_text() == "earlier" and [p.name for p in tmp_path.iterdir()] == ["out"]


def test_the_environment_names_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    assert zoo_home() == tmp_path / "home"
    assert not zoo_home().exists()
    assert home_folder("packages").is_dir()


def test_without_it_the_home_is_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZOO_HOME", raising=False)
    assert zoo_home().is_absolute() and zoo_home().name == "subnet-zoo"


def test_a_home_that_cannot_be_made_says_which_variable_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file"))
    with pytest.raises(BadHome, match="set ZOO_HOME"):
        home_folder("packages")


def test_a_user_without_a_home_is_told_which_variable_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "ZOO_HOME", "XDG_CACHE_HOME", "USERPROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # what it does where the list of users has no line
    with pytest.raises(BadHome, match="set ZOO_HOME to a folder you can write"):
        zoo_home()
