"""How long work tells of itself: a stage that has done so many of so many, and lines of talk."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
Say = Callable[[str], None]


def no_progress(name: str, done: int, total: int) -> None:
    """For callers who do not watch."""


def silent(line: str) -> None:
    """For callers who do not listen."""


def stage(progress: Progress, name: str) -> Callable[[int, int], None]:
    """``progress`` for one stage."""
    return lambda done, total: progress(name, done, total)
