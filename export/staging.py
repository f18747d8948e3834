"""A file that appears at its destination whole and verified, or not at all."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from export.errors import WriteFailed


@contextmanager
def draft_of(path: Path, content: bytes) -> Iterator[Path]:
    """Write ``content`` to a hidden file beside ``path`` and yield it; what is not moved away by then is removed.

    Raises:
        WriteFailed: the folder or the file could not be written.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.draft")
    try:
        _write(draft, content)
        yield draft
    finally:
        with suppress(OSError):  # the folder may be what could not be made
            draft.unlink(missing_ok=True)


def move(draft: Path, path: Path) -> None:
    """Put a draft at its destination in one step, replacing what is there.

    Raises:
        WriteFailed: the destination is a folder, or not writable.
    """
    try:
        draft.replace(path)
    except OSError as error:
        raise WriteFailed(f"could not put the artefact at {path}: {error.strerror}; choose another path") from error


def _write(draft: Path, content: bytes) -> None:
    try:
        draft.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        need = f"{len(content)} bytes"
        raise WriteFailed(f"could not write {need} to {draft.parent}: {error}; free space or choose another") from error


@contextmanager
def scratch_beside(path: Path) -> Iterator[Path]:
    """Yield an empty folder on the file system of ``path``, from which a finished file can be moved in one step.

    Raises:
        WriteFailed: the folder could not be made, or the block could not write to it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", suffix=".draft") as folder:
            yield Path(folder)
    except OSError as error:
        raise WriteFailed(
            f"could not write {path.name} to {path.parent}: {error.strerror}; free space or choose another"
        ) from error
