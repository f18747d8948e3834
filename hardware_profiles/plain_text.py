"""Texts of strangers, made fit for a terminal."""

from __future__ import annotations

import json
from typing import Any

# Our own documents have at most six levels; Python itself gives up somewhere below a thousand.
_MOST_LEVELS = 20


def read_plain_json(content: str | bytes) -> Any:
    """JSON of strangers -> what it holds, its texts as of ``escape_controls``.

    Raises:
        ValueError: it is no JSON, or nested deeper than our own documents.
    """
    try:
        return escape_controls(json.loads(content))
    except RecursionError:
        raise ValueError(f"it is nested deeper than {_MOST_LEVELS} levels") from None


def escape_controls(value: Any, *, levels: int = _MOST_LEVELS) -> Any:
    r"""The same JSON or YAML value, with whatever no screen prints (``\x1b``) spelled out in texts.

    A terminal obeys such characters: they set its title, clear it, or write the clipboard.

    Raises:
        ValueError: it is nested deeper than ``levels``.
    """
    if levels < 0:
        raise ValueError(f"it is nested deeper than {_MOST_LEVELS} levels")
    if isinstance(value, str):
        return value if value.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in value)
    if isinstance(value, dict):
        return {escape_controls(k): escape_controls(v, levels=levels - 1) for k, v in value.items()}
    if isinstance(value, list):
        return [escape_controls(v, levels=levels - 1) for v in value]
    return value
