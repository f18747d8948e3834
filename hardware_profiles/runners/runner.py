"""Runner: a runtime with a model loaded, behind the smallest possible interface."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


class Runner(Protocol):
    """A model that can run while the ``with`` block around it is open."""

    def __enter__(self) -> Self:
        """Load the model."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free what was loaded."""

    def run(self, inputs: Arrays) -> Arrays:
        """Run once; arrays by the model's input names in, arrays by its output names out."""


class ScriptedClock:
    """A clock, in nanoseconds, that moves only when told to."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        """The time."""
        return self.now_ns


class ScriptedRunner:
    """A fake runtime: a run returns ``outputs`` and moves ``clock`` by the next of ``durations_ns``, in a circle."""

    def __init__(self, outputs: Arrays, *, durations_ns: Sequence[int], clock: ScriptedClock) -> None:
        self._outputs = outputs
        self._durations_ns = itertools.cycle(durations_ns)
        self._clock = clock

    def __enter__(self) -> Self:
        """Nothing to load."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to free."""

    def run(self, inputs: Arrays) -> Arrays:
        """See ``Runner``; the inputs do not matter."""
        self._clock.now_ns += next(self._durations_ns)
        return {name: np.array(value) for name, value in self._outputs.items()}
