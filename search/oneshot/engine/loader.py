"""Loader: the images of the steps to come, read or decoded by torch's workers while a step runs.

A step's number decides its images, so any number of workers gives the same training, resumed or not. Workers hand over
uint8; views are made from them a whole batch at a time where the training runs, which on a GPU costs less than workers
that make them one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from search.images.stored import Decoded, Stored


class Loader:
    """The images of a step.

    Args:
        images: that are not in memory.
        rows_of: numbers of the images of (step, part).
        parts: of a step.
        workers: processes that read ahead; 0 reads when it is asked.
    """

    def __init__(
        self,
        images: Stored | Decoded,
        rows_of: Callable[[int, int], NDArray[Any]],
        *,
        parts: int,
        workers: int,
    ) -> None:
        self._images, self._rows_of, self._parts, self._workers = images, rows_of, parts, workers
        self._next: tuple[int, int] | None = None
        self._ahead: Iterator[Tensor]

    def take(self, step: int, part: int) -> Tensor:
        """uint8 [B, 3, S, S]."""
        if self._next != (step, part):
            loader: DataLoader[Tensor] = DataLoader(
                self._images,  # type: ignore[arg-type]
                batch_sampler=self._rows_from(step, part),
                num_workers=self._workers,
                collate_fn=_as_it_is,
            )
            self._ahead = iter(loader)
        self._next = (step, part + 1) if part + 1 < self._parts else (step + 1, 0)
        return next(self._ahead)

    def _rows_from(self, step: int, part: int) -> Iterator[list[int]]:
        while True:
            yield self._rows_of(step, part).tolist()
            step, part = (step, part + 1) if part + 1 < self._parts else (step + 1, 0)


def _as_it_is(batch: Any) -> Any:
    return batch
