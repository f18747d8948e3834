"""A seal on what this installation wrote: HMAC-SHA256 with a key that never leaves the machine.

A checksum that lies beside a file proves nothing about who wrote the two. Where a file can run code, the seal does.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from export.errors import WriteFailed

_KEY_BYTES = 32


def seal_of(document: Mapping[str, Any], key: bytes) -> str:
    """Return the seal, in hexadecimal, of a document of plain values; its key order does not matter."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hmac.new(key, text.encode("ascii"), hashlib.sha256).hexdigest()


def is_sealed(document: Mapping[str, Any], seal: str, key: bytes) -> bool:
    """Whether ``seal`` is the document's; takes equally long whichever digit differs."""
    return hmac.compare_digest(seal_of(document, key).encode(), seal.encode())


def read_key(path: Path) -> bytes | None:
    """The key at ``path``, or nothing where no whole key lies."""
    try:
        key = path.read_bytes()
    except OSError:
        return None
    return key if len(key) == _KEY_BYTES else None


def own_key(path: Path) -> bytes:
    """The key at ``path``; made on first use, readable by its owner only.

    Raises:
        WriteFailed: it cannot be made, or what lies there is no key.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Linked, not renamed, into place: of two processes that make a key at once, both then use the first one's.
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.draft")
        if not path.exists():
            _write_privately(draft, secrets.token_bytes(_KEY_BYTES))
            try:
                os.link(draft, path)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
    except OSError as error:
        raise WriteFailed(f"cannot make the key {path}: {error.strerror}; choose a folder you can write") from error
    key = read_key(path)
    if key is None:
        raise WriteFailed(
            f"{path} is not a key of {_KEY_BYTES} bytes; remove it, and engines sealed with it are rebuilt"
        )
    return key


def _write_privately(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
