"""Beside: the page of a package that was just made."""

from __future__ import annotations

from pathlib import Path

from zoo.report.page import cut, write_page
from zoo.types import Say

PAGE = "report.html"


def write_beside(folder: Path, *, say: Say) -> None:
    """The page of a package that was just made, in its folder; whatever goes wrong costs the page, not the package."""
    try:
        from zoo.report.sections import page_text

        say(f"{write_page(page_text([folder]), folder / PAGE)}  the report, for a browser")
    except Exception as error:  # the package is finished, and worth more than its page
        say(f"no report page ({type(error).__name__}: {cut(error)}); `zoo report {folder}` tries again")
