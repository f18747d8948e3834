from pathlib import Path

import pytest

from zoo.errors import OutputExists
from zoo.package.staging import check_free, staged

MARK = "config.json"


def write(out: Path, text: str, *, overwrite: bool = False) -> None:
    with staged(out, mark=MARK, overwrite=overwrite) as draft:
        (draft / MARK).write_text(text)


def test_a_folder_appears_whole_with_its_parents(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b", "new")
    assert (tmp_path / "a" / "b" / MARK).read_text() == "new"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), staged(tmp_path / "out", mark=MARK) as draft:
        (draft / MARK).write_text("half")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_overwrite_leaves_the_earlier_result(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    with pytest.raises(RuntimeError), staged(tmp_path / "out", mark=MARK, overwrite=True):
        raise RuntimeError
    assert (tmp_path / "out" / MARK).read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_result_is_replaced_only_when_told(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    with pytest.raises(OutputExists, match="--overwrite"):
        write(tmp_path / "out", "new")
    write(tmp_path / "out", "new", overwrite=True)
    assert (tmp_path / "out" / MARK).read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 1


def test_overwrite_never_deletes_what_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("precious")
    with pytest.raises(OutputExists, match="not ours"):
        write(tmp_path, "new", overwrite=True)
    assert (tmp_path / "photo.jpg").read_text() == "precious"


def test_an_empty_folder_may_be_filled_and_a_file_may_not(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty", "new")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputExists, match="is a file"):
        write(tmp_path / "file", "new", overwrite=True)


@pytest.mark.parametrize("place", ["file/out", "x" * 250, "file/deep/er/out"])
def test_a_folder_that_cannot_be_written_is_refused_before_the_work(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputExists, match=r"cannot be written \(.*\); name a folder elsewhere"):
        check_free(tmp_path / place, mark=MARK, overwrite=True)
    check_free(tmp_path / "a" / "b", mark=MARK, overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_appears_there_meanwhile_is_kept(tmp_path: Path) -> None:
    with pytest.raises(OutputExists), staged(tmp_path / "out", mark=MARK):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "other").write_text("x")
    assert (tmp_path / "out" / "other").read_text() == "x"
