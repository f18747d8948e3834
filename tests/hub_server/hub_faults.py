"""What can go wrong with a server: refusals, cut connections, wrong content, long waits. Scripted, never random."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field


@dataclass
class Fault:
    """What to do to the next requests that match.

    Args:
        path: a regular expression that is found in the path.
        method: of the request; None means any.
        status: answer with this error.
        headers: add these to the answer.
        cut_after: close the connection after this many bytes of the body.
        flip: change the first byte of the body.
        delay_s: wait that long before answering.
        say: the text of an error; ``{token}`` is what the request was authorized with.
        times: of how many requests; then the fault is over.
    """

    path: str
    method: str | None = None
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    flip: bool = False
    delay_s: float = 0
    say: str = "no"
    times: int = 1


class Faults:
    """The faults to come; those of one request are taken together."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """The first fault for this request."""
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and fault.method in (None, method) and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None
