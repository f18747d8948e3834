"""How the commands speak: data on stdout, talk and bars on stderr, JSON when asked."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import Annotated, Any

import typer

from hardware_profiles.timing.noise import take_free_threads
from search.first import is_first
from zoo.checks import MOST_THREADS
from zoo.progress import Bars, Lines
from zoo.types import Progress, no_progress, print_above_bars

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Threads = Annotated[int | None, typer.Option(min=1, max=MOST_THREADS, help="Threads of the runtime on this machine.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No talk and no bars on stderr; errors still show.")]


# What an interrupted command leaves; the command that leaves something puts its sentence here.
_left: list[Callable[[], str | None]] = []


def leaves(sentence: Callable[[], str | None]) -> None:
    """Say what this command leaves when it is interrupted: asked then, None where it left nothing."""
    _left.append(sentence)


def told_after_interrupt() -> str:
    """What was left behind, in one sentence."""
    return next(filter(None, (sentence() for sentence in _left)), "nothing half-written was left behind")


class Talk:
    """The voice of one command; of several processes that share it, the first one's.

    Args:
        as_json: print data as JSON.
        quiet: no talk.
    """

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self._as_json = as_json
        self._quiet = quiet or not is_first()

    def say(self, line: str) -> None:
        """Talk: one line on stderr."""
        if not self._quiet:
            print_above_bars(harmless(line))

    def data(self, value: Any, lines: Iterable[str]) -> None:
        """The result: ``value`` as JSON, or ``lines`` for people."""
        if not is_first():
            return
        text = json.dumps(value, indent=2, ensure_ascii=False) if self._as_json else "\n".join(lines)
        sys.stdout.write(f"{harmless(text)}\n" if text else "")

    def next(self, *commands: str) -> None:
        """Talk: commands to paste."""
        self.say("next:")
        for command in commands:
            self.say(f"  {command}")

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """A bar for each stage where stderr is a terminal, a line now and then where not."""
        if self._quiet:
            yield no_progress
            return
        take_free_threads(self.say)
        progress = Bars() if sys.stderr.isatty() else Lines(self.say)
        try:
            yield progress
        finally:
            progress.close()


def harmless(text: str) -> str:
    """Text with whatever no screen prints spelled out as JSON does it; line ends and tabs stay.

    A terminal obeys control characters, and marks of direction show a name as another one.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else json.dumps(c)[1:-1] for c in text)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows, the first one a heading, as aligned lines.

    A terminal that is too narrow for them gets the widest columns wrapped; a file or a pipe, a line a row.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    if sys.stdout.isatty():
        room = shutil.get_terminal_size().columns - 2 * (len(widths) - 1)
        while sum(widths) > room and max(widths) > _NARROWEST:
            widths[widths.index(max(widths))] -= 1
    return [line for row in rows for line in _row(row, widths)]


_NARROWEST = 12  # characters of a column; a narrower one cannot be read


def _row(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    wrapped = [
        textwrap.wrap(cell, width) if len(cell) > width else [cell] for cell, width in zip(row, widths, strict=True)
    ]
    for cells in zip_longest(*wrapped, fillvalue=""):
        yield "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def size_text(size_bytes: int) -> str:
    """``3.7 MB``; units of 1000."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 100_000 else f"{size_bytes / 1e3:.1f} kB"


def ms_text(value_ms: float | None) -> str:
    """``0.931``; a dash for what is not known."""
    return "-" if value_ms is None else f"{value_ms:.3f}"
