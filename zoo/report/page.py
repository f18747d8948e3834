"""Page: what is to be shown as one HTML file that needs nothing else; written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hardware_profiles.replace_file import replace_file
from zoo.errors import OutputExists

PAGE = "report.html"
_HERE = Path(__file__).parent
_MOST_LETTERS = 120  # of a stranger's name or path in a page


def render(template: str, values: Mapping[str, Any]) -> str:
    """A template of this folder with its values; text of strangers is escaped, and cut at 120 letters."""
    library = (_HERE / "vega.js").read_text("utf-8")
    return _environment().get_template(template).render(**values, vega=library)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=True
    )
    environment.filters["cut"] = cut
    environment.filters["ms"] = lambda value: "-" if value is None else f"{value:.3g}"
    return environment


def cut(text: object) -> str:
    """Text of a stranger on one line, at most 120 letters of it."""
    line = "".join(c if c.isprintable() else " " for c in " ".join(str(text)[: 4 * _MOST_LETTERS].split()))
    return line if len(line) <= _MOST_LETTERS else f"{line[: _MOST_LETTERS - 3]}..."


def check_page(out: Path, *, overwrite: bool) -> None:
    """Refuse what ``write_page`` could not write, before the work.

    Raises:
        OutputExists: the file is there, or is a folder; or there is no folder to write it to.
    """
    if out.is_dir():
        raise OutputExists(f"{out} is a folder; name a file, such as {out / 'report.html'}")
    if out.exists() and not overwrite:
        raise OutputExists(f"{out} is there already; add --overwrite to replace it, or name another file with -o")
    if not out.parent.is_dir():
        raise OutputExists(f"{out.parent} is no folder; make it, or name a file in another one with -o")
    if not os.access(out.parent, os.W_OK):
        raise OutputExists(f"{out.parent} cannot be written; name a file in another folder with -o")


def write_page(text: str, out: Path) -> Path:
    """Write it in one step; returns ``out``.

    Raises:
        OutputExists: the folder cannot be written, or is full; nothing is left there.
    """
    try:
        return replace_file(out, text.encode("utf-8", "replace"))
    except OSError as error:
        raise OutputExists(f"{out} cannot be written ({error.strerror}); name a file elsewhere with -o") from None
