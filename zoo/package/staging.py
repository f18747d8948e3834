"""A folder that appears at its destination whole, or not at all."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.errors import OutputExists

# A draft is written in seconds; one that nobody touched for so long belongs to a process that was killed.
STALE_S = 3600.0
# Two renames take microseconds.
_RENAMES_S = 5.0


@contextmanager
def staged(out: Path, *, mark: str, overwrite: bool = False) -> Iterator[Path]:
    """Yield a new folder beside ``out``; it becomes ``out`` when the block ends well, and vanishes when it does not.

    What a killed process left beside ``out`` earlier is tidied first.

    Args:
        out: the destination; missing parents are made.
        mark: what shows that an existing ``out`` is ours, so that ``overwrite`` cannot delete someone's photos.
        overwrite: replace an earlier result.

    Raises:
        OutputExists: ``out`` is a file, or a folder that is not empty and may not be replaced, or cannot be written.
    """
    out = out.resolve()
    _tidy(out)
    check_free(out, mark=mark, overwrite=overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = _make_draft(out, out.parent)
    try:
        yield draft
        _replace(draft, out, mark=mark, overwrite=overwrite)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(out)) from error  # writing to a full disk names no file
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def check_free(out: Path, *, mark: str, overwrite: bool) -> None:
    """Raise OutputExists where ``staged`` would; call it before an hour's work, not after."""
    if out.exists() and not out.is_dir():
        raise OutputExists(f"{out} is a file; name a folder")
    beside = next(parent for parent in out.absolute().parents if parent.exists())
    try:
        _make_draft(out, beside).rmdir()  # permissions do not tell all: of some file systems, or of a name's length
    except OSError as error:
        raise OutputExists(f"{out} cannot be written ({error.strerror}); name a folder elsewhere") from None
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not overwrite:
        raise OutputExists(f"{out} is not empty; add --overwrite to replace it, or name another folder")
    if not (out / mark).exists():
        raise OutputExists(f"{out} holds no {mark}, so it is not ours to overwrite; name another folder")


def _make_draft(out: Path, parent: Path) -> Path:
    draft = parent / f".{out.name}.{secrets.token_hex(4)}.partial"
    draft.mkdir()
    return draft


def discard(folder: Path) -> None:
    """Delete a folder so that whoever looks for it sees all of it or nothing."""
    gone = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def stale_drafts(parent: Path, name: str = "*") -> list[Path]:
    """What killed processes left in ``parent`` of the folders called ``name``."""
    found = [path for end in ("partial", "old") for path in parent.glob(f".{name}.????????.{end}")]
    return [path for path in sorted(found) if is_stale(path)]


def is_stale(path: Path) -> bool:
    """Whether nobody has written to a file, or in a folder, for an hour."""
    try:
        newest = max(entry.lstat().st_mtime for entry in (path, *path.rglob("*")))
    except OSError:  # it is being moved or deleted right now
        return False
    return time.time() - newest > STALE_S


def size_bytes(path: Path) -> int:
    """Of a file, or of all files in a folder; links count as nothing."""
    files = [entry for entry in (path, *path.rglob("*")) if entry.is_file() and not entry.is_symlink()]
    return sum(entry.stat().st_size for entry in files)


def _tidy(out: Path) -> None:
    """Bring back what a process killed between two renames had set aside; delete drafts that nobody writes any more."""
    if not out.parent.is_dir():
        return
    for old in sorted(out.parent.glob(f".{out.name}.????????.old")):
        if not out.exists() and time.time() - old.stat().st_ctime > _RENAMES_S:
            old.rename(out)
    for draft in stale_drafts(out.parent, out.name):
        shutil.rmtree(draft, ignore_errors=True)


def _replace(draft: Path, out: Path, *, mark: str, overwrite: bool) -> None:
    check_free(out, mark=mark, overwrite=overwrite)  # the work took time; someone may have written there meanwhile
    if not out.exists():
        draft.rename(out)
        return
    old = draft.with_suffix(".old")
    out.rename(old)
    try:
        draft.rename(out)
    except BaseException:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
