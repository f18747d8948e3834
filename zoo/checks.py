"""Checks: what a public function is given, against what its signature says, before it begins."""

from __future__ import annotations

import collections.abc
import enum
import functools
import inspect
import math
import numbers
import os
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from zoo.errors import BadRequest, memory_error
from zoo.names import shown

P = ParamSpec("P")
R = TypeVar("R")

_LONGEST = 60  # of a value in a message


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers that an argument may be, both ends included, or above ``above``."""

    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf

    def __str__(self) -> str:
        """``of at least 1``."""
        if self.above > -math.inf:
            return f"above {self.above:g}"
        return f"of at least {self.least:g}" if self.most == math.inf else f"of {self.least:g} to {self.most:g}"


Count = Annotated[int, Range(least=1)]
MOST_THREADS = 256  # a runtime starts as many as it is told, a hundred thousand too
Threads = Annotated[int, Range(least=1, most=MOST_THREADS)]
Seed = Annotated[int, Range(least=0)]
Share = Annotated[float, Range(least=0, most=1)]
Positive = Annotated[float, Range(above=0)]


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """``function``, which answers an argument of another kind than its signature says with one line.

    Raises:
        BadRequest: what came, and what is accepted.
        NotEnoughMemory: what was asked for does not fit.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        hints = hints_of(function)
        bound = signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            if name not in hints:  # self
                continue
            is_many = signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
            for one in value if is_many else (value,):
                if not fits(one, hints[name]):
                    raise BadRequest(f"{name} is {_told(one)}; {function.__name__} takes {accepted(hints[name])}")
            if Path in get_args(hints[name]):
                bound.arguments[name] = tuple(map(at_home, value)) if is_many else at_home(value)
        try:
            return function(*bound.args, **bound.kwargs)
        except (MemoryError, RuntimeError) as error:
            if (told := memory_error(error)) is None:
                raise
            raise told from error

    return call


def at_home(path: Any) -> Any:
    """A path with ``~`` in front as the folder that a shell would make of it; anything else as it is."""
    if isinstance(path, (str, Path)) and str(path).startswith("~"):
        return type(path)(os.path.expanduser(path))  # noqa: PTH111 - a text stays a text
    return path


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function's arguments; that of its result may be known to type checkers only."""
    kept = {name: hint for name, hint in function.__annotations__.items() if name != "return"}
    bare = types.SimpleNamespace(__annotations__=kept)
    return get_type_hints(bare, globalns=inspect.unwrap(function).__globals__, include_extras=True)


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of the kind that an annotation names; what it does not know is accepted."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in args)
    if origin is Annotated:
        return fits(value, args[0]) and all(_within(value, one) for one in args[1:] if isinstance(one, Range))
    if origin is Literal:
        return isinstance(value, str) and value in args
    if origin is collections.abc.Callable:
        return callable(value)
    if hint in (int, float):
        kind = numbers.Integral if hint is int else numbers.Real
        return isinstance(value, kind) and not isinstance(value, bool) and bool(value == value)  # NaN is not
    if hint in (None, type(None)):
        return value is None
    if origin in (collections.abc.Sequence, collections.abc.Iterable):
        if isinstance(value, (str, bytes)) or not isinstance(value, origin):
            return False
        return origin is collections.abc.Iterable or all(fits(one, args[0]) for one in value)
    kind = origin or hint
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return value in {one.value for one in kind}
    if not isinstance(kind, type) or kind.__module__ == "typing":
        return True
    return isinstance(value, dict if hasattr(kind, "__total__") else kind)  # a TypedDict is a dict


def accepted(hint: Any) -> str:
    """An annotation in words."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(accepted(one) for one in args))  # a set of words and its enumeration are one
    if origin is Annotated:
        limits = "".join(f" {one}" for one in args[1:] if isinstance(one, Range))
        return accepted(args[0]) + limits
    if origin is Literal or (isinstance(hint, type) and issubclass(hint, enum.Enum)):
        *first, last = args or [one.value for one in hint]
        return f"{', '.join(first)} or {last}" if first else f"{last!r}"
    if origin is collections.abc.Callable:
        return "a function"
    if origin in (collections.abc.Sequence, collections.abc.Iterable):
        return f"a list (each {accepted(args[0])})"
    words = {str: "a text", int: "a whole number", float: "a number", bool: "True or False", type(None): "None"}
    name: str = getattr(origin or hint, "__name__", str(hint))
    return words.get(hint, f"{'an' if name[:1] in 'AEIOU' else 'a'} {name}")


def _within(value: Any, limits: Range) -> bool:
    return bool(limits.least <= value <= limits.most and limits.above < value)


def _told(value: Any) -> str:
    text = repr(value)
    if len(text) > _LONGEST:
        return f"a {type(value).__name__}"
    return shown(value) if isinstance(value, str) else f"{text} ({type(value).__name__})"
