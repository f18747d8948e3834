"""A meter on a download: tells how far it is, and stops it when more arrives than was declared."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar

from zoo.errors import BadPackage


class Meter:
    """Stands where huggingface_hub expects the class of a progress bar; ``metered`` makes one for a file.

    Args:
        total: what the server says the file weighs.
        initial: what was here before.
        options: of a bar that draws itself.

    Raises:
        BadPackage: the server says, or sends, more than the file may weigh.
    """

    file: ClassVar[str]
    most_bytes: ClassVar[int]
    tell: ClassVar[Callable[[int], None]]

    def __init__(self, *, total: float | None = None, initial: float = 0, **options: Any) -> None:
        self.n, self.total = initial, total
        self._check(total or 0)

    def update(self, n: float | None = 1) -> None:
        """``n`` bytes more; fewer, where a download starts again."""
        self.n += n or 0
        self._check(self.n)
        type(self).tell(int(n or 0))

    def _draw_nothing(self, *args: Any, **options: Any) -> None:
        """What a bar would draw."""

    close = refresh = update_transfer = _draw_nothing
    set_description = set_description_str = set_postfix_str = set_transfer_postfix_str = _draw_nothing

    def __enter__(self) -> Meter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, size_bytes: float) -> None:
        if size_bytes > self.most_bytes:
            raise BadPackage(
                f"{self.file} has {size_bytes:.0f} bytes or more on the Hub, and {self.most_bytes} are allowed:"
                " do not trust this package"
            )


def metered(file: str, most_bytes: int, tell: Callable[[int], None]) -> type[Meter]:
    """The meter for a download of ``file``, which may weigh ``most_bytes``; ``tell`` hears of bytes that arrived."""
    return type("FileMeter", (Meter,), {"file": file, "most_bytes": most_bytes, "tell": staticmethod(tell)})
