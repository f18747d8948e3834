"""Runner: a runtime with a model loaded, behind the smallest possible interface."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

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
