"""What can go wrong in this package, and the exit code of every failure of the program.

ZooError
├── BadName              not a name of the grammar                                        exit 2
├── UnknownName          nothing has that name, and nothing can be made for it            exit 1
├── BadCatalogue         the catalogue's file is damaged                                  exit 1
├── StaleEntry           a catalogue entry was made from another supernet                 exit 1
├── BadRequest           devices, budgets or limits that do not go together              exit 2
├── MissingHeads         a table of backbones alone, for a detector or a segmenter         exit 1
├── UnreadableImage      a single image that cannot be decoded                            exit 1
├── OutputExists         the output folder holds something                                exit 2
├── BadRecipe            numbers that cannot train                                        exit 2
├── MissingExtra         a part that needs libraries which are not installed              exit 1
├── NotEnoughMemory      what was asked for does not fit in memory                         exit 1
├── BadCheckpoint        a supernet without an architecture, or a package with one        exit 2
├── BadHome              the cache folder cannot be used                                  exit 1
├── BadPackage           a package folder is damaged, incomplete or of another schema     exit 1
├── BadAddress           not org/name or org/name@revision                                exit 2
├── HubError             the Hub, or the way to it, said no                               exit 1
│   └── NotInCache       offline, and the cache has not all that is needed                exit 1
├── VerificationFailed   a package does not reproduce its golden outputs                  exit 4
└── BudgetMissed         what the table promised, the clock did not confirm               exit 3
"""

# ruff: noqa: N818 - the names say the condition; "Error" would add nothing where they are caught.

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from export.errors import ComparisonFailed, UnsupportedTarget
from search.errors import InfeasibleBudget, Preempted, rounded_up

if TYPE_CHECKING:
    from zoo.types import Try

OK, FAILURE, USAGE, CONSTRAINT_NOT_MET, VERIFICATION_FAILED, INTERRUPTED, PREEMPTED = 0, 1, 2, 3, 4, 130, 143


class ZooError(Exception):
    """Any failure of this package that its user can mend."""

    exit_code = FAILURE


class BadName(ZooError):
    """The text is not a name of the grammar."""

    exit_code = USAGE


class UnknownName(ZooError):
    """Nothing in the catalogue has that name, and nothing can be made for it."""


class BadCatalogue(ZooError):
    """The catalogue's own file is damaged."""


class StaleEntry(ZooError):
    """A catalogue entry was made from another supernet than the one at hand."""


class UnreadableImage(ZooError):
    """One image that cannot be decoded."""


class BadRequest(ZooError):
    """Devices, budgets or limits that do not go together."""

    exit_code = USAGE


class MissingHeads(ZooError):
    """A latency table times backbones alone, and a detector or a segmenter is asked for."""


class OutputExists(ZooError):
    """The output folder holds something that must not be lost."""

    exit_code = USAGE


class BadRecipe(ZooError):
    """Numbers that cannot train a supernet."""

    exit_code = USAGE


class NotEnoughMemory(ZooError):
    """What was asked for does not fit in the memory of the machine or of the GPU."""


class BadCheckpoint(ZooError):
    """A supernet of which no network was named, or one network of which another was."""

    exit_code = USAGE


class MissingExtra(ZooError):
    """A part of the zoo needs libraries that are not installed."""


class BadHome(ZooError):
    """The cache folder cannot be used."""


class BadPackage(ZooError):
    """A package folder is damaged, incomplete, or of a schema that this version does not read."""


class BadAddress(ZooError):
    """The text is not ``org/name`` or ``org/name@revision``."""

    exit_code = USAGE


class HubError(ZooError):
    """The Hub, or the way to it, said no."""


class NotInCache(HubError):
    """The cache lacks something, and the network may not be used."""


class VerificationFailed(ZooError):
    """A package does not reproduce its golden outputs."""

    exit_code = VERIFICATION_FAILED


class BudgetMissed(ZooError):
    """No tried network met the budget when it was timed; ``tries`` are all of them."""

    exit_code = CONSTRAINT_NOT_MET

    def __init__(self, *, device_id: str, limit_ms: float, tries: Sequence[Try]) -> None:
        self.tries = tuple(tries)
        fastest_ms = min(t.measured_ms for t in tries if t.measured_ms is not None)
        super().__init__(
            f"none of the {len(tries)} networks timed on {device_id} met {limit_ms:g} ms; the fastest took"
            f" {rounded_up(fastest_ms, 'ms')}: ask for at least that, or stop what else this machine does and measure"
            " it again"
        )


def exit_code(error: BaseException) -> int:
    """The program's exit code for ``error``, of this package or of another."""
    if isinstance(error, ZooError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, Preempted):
        return PREEMPTED
    if isinstance(error, InfeasibleBudget):
        return CONSTRAINT_NOT_MET
    if isinstance(error, ComparisonFailed):
        return VERIFICATION_FAILED
    if isinstance(error, UnsupportedTarget):
        return USAGE
    return FAILURE


_ASKED = re.compile(r"(?:allocate|allocating) ([\d.]+ ?(?:[KMGTP]iB|bytes))")


def memory_error(error: BaseException) -> NotEnoughMemory | None:
    """What to say of a failed allocation, of Python's, numpy's, torch's or a GPU's; None of any other error."""
    text = str(error)
    on_gpu = type(error).__name__ == "OutOfMemoryError"
    on_cpu = isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "can't allocate memory" in text)
    if not (on_gpu or on_cpu):
        return None
    import psutil  # rarely needed, and every command imports this file

    asked = f" for {found[1]}" if (found := _ASKED.search(text)) else ""
    free = "" if on_gpu else f", of which {psutil.virtual_memory().available / 2**30:.1f} GiB are free"
    where = f"the {'GPU' if on_gpu else 'machine'}{free}"
    return NotEnoughMemory(f"no memory{asked} on {where}; ask for a smaller batch, a lower resolution or fewer images")


def one_line(error: BaseException) -> str:
    """The error's message on one line; the type's name in front where the message alone says too little."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        file = error.filename2 or error.filename  # of two, the one that was to be written
        fix = "; free some space, or name a folder on another disk" if error.errno == errno.ENOSPC else ""
        return f"{error.strerror}: {file}{fix}" if file else f"{error.strerror}{fix}"
    return text or type(error).__name__
