"""Progress: how far something is, for whoever watches: bars on a terminal or in a notebook, else lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from hardware_profiles.timing.noise import advise_threads
from zoo.types import Progress, Say, no_progress, tell

if TYPE_CHECKING:
    from tqdm import tqdm

Watch = Progress | Literal["auto"] | None
# Whoever waits longer without a word thinks that it hangs; later, words come as often as the wait has doubled.
_FIRST_WORD_S, _RAREST_S = 2.0, 60.0


def watching(progress: Watch) -> Progress:
    """What a public function's ``progress`` means.

    Args:
        progress: a function called with (stage, done, all); ``auto``: bars or lines, as fits; None: nothing.
    """
    if progress is None:
        return no_progress
    if progress == "auto":
        advise_threads(tell)
        return Bars() if is_watched() else Lines(tell)
    assert callable(progress)  # the surface checks what it is given
    return progress


def is_watched() -> bool:
    """Whether somebody looks at what is printed as it comes: a terminal or a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


class Bars:
    """A bar for each stage, which leaves nothing behind."""

    def __init__(self) -> None:
        self._bars: dict[str, tqdm[Any]] = {}

    def __call__(self, name: str, done: int, total: int) -> None:
        """``done`` of ``total`` parts of a stage."""
        if name not in self._bars and done >= total:
            return
        if name not in self._bars:
            from tqdm.auto import tqdm  # takes as long to import as a short command runs

            self._bars[name] = tqdm(total=total, desc=name, leave=False, file=sys.stderr, dynamic_ncols=True)
        bar = self._bars[name]
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            self._bars.pop(name).close()

    def close(self) -> None:
        """Take away what is left where a stage did not end."""
        while self._bars:
            self._bars.popitem()[1].close()


class Lines:
    """A line where a stage goes on for two seconds, and further ones ever more rarely.

    Args:
        say: receives them.
        clock: in seconds.
    """

    def __init__(self, say: Say, clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._name, self._done, self._total = "", 0, 0
        self._began_s = self._due_s = self._last_s = clock()

    def __call__(self, name: str, done: int, total: int) -> None:
        """``done`` of ``total`` parts of a stage."""
        now_s = self._clock()
        # A training of so many minutes changes its mind on how many steps that is, and is the same stage all the same.
        if name != self._name or done < self._done or self._done >= self._total:
            # It began when the one before was last heard of.
            self._name, self._began_s, self._due_s = name, self._last_s, self._last_s + _FIRST_WORD_S
        self._last_s, self._done, self._total = now_s, done, total
        if now_s >= self._due_s and done < total:
            self._say(f"{name}: {done} of {total} after {now_s - self._began_s:.0f} s")
            self._due_s = now_s + min(max(now_s - self._began_s, _FIRST_WORD_S), _RAREST_S)

    def close(self) -> None:
        """Nothing is left."""
