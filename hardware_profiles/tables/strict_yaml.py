"""YAML from anywhere, read strictly: small, shallow, without aliases, tags or repeated keys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import yaml

from hardware_profiles.errors import BadProfile

MAX_BYTES = 500_000
_MAX_DEPTH = 5
_MAX_SCALAR = 1000

if TYPE_CHECKING:
    from yaml import SafeLoader as _SafeLoader
else:  # libyaml, where PyYAML was built with it, reads a table seven times as fast; both give the same values
    _SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


# All that our files hold beside text, as YAML 1.2's core schema writes it: YAML 1.1 has numbers in base 60 that take
# minutes, dates that raise, and a float only where there is a dot (5e-3).
_RESOLVED = (
    ("tag:yaml.org,2002:null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    ("tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9][0-9]{0,18})"), list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        re.compile(
            r"[-+]?(?:[0-9]{1,400}\.[0-9]{0,400}|\.[0-9]{1,400}|[0-9]{1,400}(?=[eE]))(?:[eE][-+]?[0-9]{1,4})?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
        ),
        list("-+0123456789."),
    ),
)


class _Plain(_SafeLoader):
    """The safe loader, whose words without quotes mean only what our own files mean by them."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]


for _tag, _words, _first in _RESOLVED:
    _Plain.add_implicit_resolver(_tag, re.compile(rf"(?:{_words.pattern})\Z"), _first)


class _Loader(_Plain):
    """Safe, and refuses keys that come twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse what YAML would silently overwrite."""
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                _refuse("a key must be a plain word", key.start_mark)
            if key.value in seen:
                _refuse(f"key {key.value[:40]!r} appears twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_strict_yaml(path: Path, *, before: str | None = None) -> object:
    """The one document in ``path``.

    Args:
        path: of the file.
        before: reads the lines above the one that starts with this text only; that is fast where the rest is long.

    Raises:
        BadProfile: the file cannot be read, is larger than 500 kB, is not UTF-8 or not this strict YAML.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadProfile(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise BadProfile(f"{path}: larger than {MAX_BYTES} bytes; a latency table has about 100 bytes a block")
    if before is not None:
        content = content.partition(f"\n{before}".encode())[0]
    try:
        text = content.decode("utf-8")
        if not text.strip():
            raise BadProfile(f"{path}: the file is empty; remove it, or measure again")
        _refuse_what_grows(text)
        return _Loader(text).get_single_data()
    except UnicodeDecodeError as error:
        raise BadProfile(f"{path}: byte {error.start} is not UTF-8 text") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2026-13-45
        raise BadProfile(f"{path}: {_sentence(error)}") from error


def _refuse_what_grows(text: str, *, most_levels: int = _MAX_DEPTH, longest: int = _MAX_SCALAR) -> None:
    """Refuse what makes a small file large in memory, before anything is made of it."""
    depth = 0
    for event in yaml.parse(text, Loader=_SafeLoader):
        if isinstance(event, yaml.NodeEvent):
            if event.anchor:
                _refuse("anchors and aliases are not allowed", event.start_mark)
            if depth >= most_levels:
                _refuse(f"nested deeper than {most_levels} levels", event.start_mark)
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > longest:
            _refuse(f"a value is longer than {longest} characters", event.start_mark)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)


def _refuse(problem: str, mark: Any) -> NoReturn:
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _sentence(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {' '.join(error.problem.split())}"
    return " ".join(str(error).split())


# A package's files have a few kB, and six levels.
_MOST_CHARACTERS = 1_000_000
_MOST_LEVELS = 20


def read_plain_yaml(text: str) -> Any:
    """The document in ``text``.

    Raises:
        ValueError: it is no YAML, is too long or nested too deep, or has an alias.
    """
    if len(text) > _MOST_CHARACTERS:
        raise ValueError("this is not plain YAML")
    try:
        _refuse_what_grows(text, most_levels=_MOST_LEVELS, longest=_MOST_CHARACTERS)
        return _Plain(text).get_single_data()
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, AttributeError, LookupError, OverflowError):
        # PyYAML's constructors raise all of these on scalars such as ``!!int x`` or ``!!timestamp 0``.
        raise ValueError("this is not plain YAML") from None
