"""A folder that appears at its destination whole, or not at all."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.errors import OutputExists


@contextmanager
def staged(out: Path, *, mark: str, overwrite: bool = False) -> Iterator[Path]:
    """Yield a new folder beside ``out``; it becomes ``out`` when the block ends well, and vanishes when it does not.

    Args:
        out: the destination; missing parents are made.
        mark: what shows that an existing ``out`` is ours, so that ``overwrite`` cannot delete someone's photos.
        overwrite: replace an earlier result.

    Raises:
        OutputExists: ``out`` is a file, or a folder that is not empty and may not be replaced.
    """
    out = out.resolve()
    check_free(out, mark=mark, overwrite=overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.name}.{secrets.token_hex(4)}.partial")
    draft.mkdir()
    try:
        yield draft
        _replace(draft, out, mark=mark, overwrite=overwrite)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def check_free(out: Path, *, mark: str, overwrite: bool) -> None:
    """Raise OutputExists where ``staged`` would; call it before an hour's work, not after."""
    if out.exists() and not out.is_dir():
        raise OutputExists(f"{out} is a file; name a folder")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not overwrite:
        raise OutputExists(f"{out} is not empty; add --overwrite to replace it, or name another folder")
    if not (out / mark).exists():
        raise OutputExists(f"{out} holds no {mark}, so it is not ours to overwrite; name another folder")


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
