"""A hidden folder beside a destination, for what writes files itself; nothing of it stays behind."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from export.errors import WriteFailed


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
