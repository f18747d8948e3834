import os
import shutil
import time
from pathlib import Path

import pytest

from zoo.catalogue.cache import clean, list_cache
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
