"""Replace: a file that appears at its destination whole, or not at all; what every room writes with."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield a hidden file beside ``path``, in a folder that is made if need be; it becomes ``path`` in one step.

    When the block does not end well the draft vanishes and ``path`` is as it was.

    Raises:
        OSError: the folder or the file cannot be written, or ``path`` is a folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        yield draft
        draft.replace(path)
    finally:
        with suppress(OSError):  # on a read-only folder there is none
            draft.unlink(missing_ok=True)


def replace_file(path: Path, content: bytes | memoryview | str) -> Path:
    """Write ``content``, text as UTF-8, to ``path`` as ``replaced`` does, down to the disk; returns ``path``."""
    with replaced(path) as draft, draft.open("xb") as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    return path
