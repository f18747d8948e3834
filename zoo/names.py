"""Names: ``<method>-<objective>-<task>-<budget>[-<size>px][@<device>]``: ``data-mocov2-det-30ms-320px@galaxy-s24``.

A budget is a number and a unit, written without exponent:

    3ms, 0.8ms    latency_ms of one image on the device
    20mmacs       max_macs, in millions of multiply-accumulates
    1mb           max_params, by the bytes (in 10**6) of their fp32 weights: 1mb is 250,000 parameters

A size is that of the input, ``320px`` or ``320x192px`` (width x height); without one the task's default holds.

A name is canonical text: ``parse_name(str(name)) == name``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from search.types import Budget, Task
from zoo.errors import BadName

METHODS = ("data", "ssnas")
OBJECTIVES = ("mocov2", "byol", "densecl", "ressl", "simclr")
GRAMMAR = "<method>-<objective>-<task>-<budget>[-<size>px][@<device>], e.g. data-mocov2-cls-3ms"

_BYTES_PER_PARAM = 4  # fp32
_BUDGET = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|mmacs|mb)")
_AMOUNT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([kmg]?)b?")
_SCALE = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_SIZE = re.compile(r"([1-9][0-9]{0,4})(?:x([1-9][0-9]{0,4}))?")
_DEVICE = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,126}[a-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class Name:
    """A question that the zoo can answer with a network; ``device`` None means the catalogue's reference device.

    ``size_px`` is the input's (width, height), None the task's default.
    """

    method: str
    objective: str
    task: Task
    budget: Budget
    size_px: tuple[int, int] | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        """Refuse what the grammar cannot write."""
        _one_of("method", self.method, METHODS)
        _one_of("objective", self.objective, OBJECTIVES)
        if self.device is not None and (not _DEVICE.fullmatch(self.device) or ".." in self.device):
            raise BadName(f"device {shown(self.device)} is not a device id: a-z, 0-9, inner dots, dashes, underscores")
        if parse_budget(format_budget(self.budget)) != self.budget:
            raise BadName(f"the budget {self.budget} has no exact name; use at most 6 decimals")

    def __str__(self) -> str:
        """The canonical text."""
        place = f"@{self.device}" if self.device else ""
        size = f"-{format_size(self.size_px)}px" if self.size_px else ""
        return f"{self.method}-{self.objective}-{self.task}-{format_budget(self.budget)}{size}{place}"


def parse_name(text: str) -> Name:
    """Text of the grammar -> Name.

    Raises:
        BadName: which part is wrong, and what it may be.

    Example:
        >>> parse_name("data-mocov2-cls-0.80ms@this").budget.latency_ms
        0.8
    """
    question, at, device = text.partition("@")
    parts = question.split("-")
    if len(text) > 250 or len(parts) not in (4, 5) or (at and not device):
        raise BadName(f"{shown(text)} is not a name: {GRAMMAR}")
    method, objective, task, budget = parts[:4]
    size = parts[4] if len(parts) == 5 else None
    if size is not None and not size.endswith("px"):
        raise BadName(f"size {shown(size)} does not end in px: {GRAMMAR}")
    _one_of("task", task, tuple(Task))
    return Name(
        method=method,
        objective=objective,
        task=Task(task),
        budget=parse_budget(budget),
        size_px=None if size is None else parse_size(size.removesuffix("px")),
        device=device or None,
    )


def parse_size(text: str) -> tuple[int, int]:
    """``224`` or ``320x192`` -> (width, height) in pixels.

    Raises:
        BadName: the text is no size.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise BadName(f"size {shown(text)} is not a number of pixels above 0, such as 224, or 320x192 (width x height)")
    return int(match[1]), int(match[2] or match[1])


def format_size(size_px: tuple[int, int]) -> str:
    """The shortest text of a (width, height)."""
    width, height = size_px
    return str(width) if width == height else f"{width}x{height}"


def parse_budget(text: str) -> Budget:
    """``3ms``, ``20mmacs`` or ``1mb`` -> Budget.

    Raises:
        BadName: the text is no budget.
    """
    match = _BUDGET.fullmatch(text)
    amount = Decimal(match[1]) if match else Decimal(0)
    if match is None or amount <= 0:
        raise BadName(f"budget {shown(text)} is not a number above 0 with a unit: 3ms, 20mmacs or 1mb")
    if match[2] == "ms":
        return Budget(latency_ms=float(amount))
    if match[2] == "mmacs":
        return Budget(max_macs=int(amount * 1_000_000))
    params = int(amount * 1_000_000 / _BYTES_PER_PARAM)
    if params < 1:
        raise BadName(f"budget {shown(text)} holds no parameter; 0.000004mb is one")
    return Budget(max_params=params)


def parse_amount(text: str) -> int:
    """``500k``, ``20m`` or ``2000`` -> a whole number; k, m and g are thousands.

    ``2mb`` of parameters is what it is in a budget: as many as have 2 MB of fp32 weights.

    Raises:
        BadName: the text is no amount above 0.
    """
    amount = _amount(text)
    return amount // _BYTES_PER_PARAM if text.lower().endswith("b") else amount


def parse_bytes(text: str) -> int:
    """``64mb``, ``500kb`` or ``2000`` -> bytes; units of 1000.

    Raises:
        BadName: the text is no amount above 0.
    """
    return _amount(text)


def _amount(text: str) -> int:
    match = _AMOUNT.fullmatch(text.lower())
    amount = int(Decimal(match[1]) * _SCALE[match[2] or ""]) if match else 0
    if amount < 1:
        raise BadName(f"{shown(text)} is not an amount above 0, such as 500k, 20m or 2mb")
    return amount


def format_budget(budget: Budget) -> str:
    """The shortest text of a budget with a single limit.

    Raises:
        BadName: the budget has several limits, or one that the grammar has no unit for.
    """
    match budget:
        case Budget(latency_ms=float() | int() as ms, max_macs=None, max_params=None, max_memory_bytes=None):
            return _plain(Decimal(repr(ms))) + "ms"
        case Budget(latency_ms=None, max_macs=int() as macs, max_params=None, max_memory_bytes=None):
            return _plain(Decimal(macs) / 1_000_000) + "mmacs"
        case Budget(latency_ms=None, max_macs=None, max_params=int() as params, max_memory_bytes=None):
            return _plain(Decimal(params * _BYTES_PER_PARAM) / 1_000_000) + "mb"
    raise BadName(f"{budget} has no name; a name holds exactly one limit: ms, mmacs or mb")


def nearest(text: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The ``count`` known names most like ``text``, best first."""
    return difflib.get_close_matches(text[:200], list(known), n=count, cutoff=0.0)


def shown(text: str) -> str:
    """Text of a stranger for an error message: quoted, control characters escaped, cut at 60 characters."""
    return ascii(text if len(text) <= 60 else f"{text[:57]}...")


def printable(text: str) -> str:
    """A message that may repeat words of a stranger: one line, control characters escaped, cut at 300 characters."""
    escaped = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:400])
    return escaped if len(escaped) <= 300 else f"{escaped[:297]}..."


def _plain(amount: Decimal) -> str:
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _one_of(part: str, value: str, known: Iterable[str]) -> None:
    names = [str(name) for name in known]
    if value not in names:
        raise BadName(f"{part} {shown(value)} is not one of {', '.join(nearest(value, names, len(names)))}: {GRAMMAR}")
