"""YAML from anywhere, read strictly: small, shallow, without aliases, tags or repeated keys, and only plain values.

Plain values are those that our files hold: text, true and false, null, decimal integers and floats as YAML 1.2 writes
them (``5e-3`` is a number). YAML 1.1 knows more: dates, ``yes``, and integers to the base of 60, of which 300 kB keep
a reader busy for minutes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from hardware_profiles.errors import BadProfile

MAX_BYTES = 500_000  # twenty times the largest table here
# A table has four levels and chips of less than 500 characters.
_TABLE_LEVELS, _TABLE_SCALAR = 5, 1000
# A package's documents have six levels and a few kB.
_PACKAGE_CHARACTERS, _PACKAGE_LEVELS, _PACKAGE_SCALAR = 1_000_000, 20, 10_000

if TYPE_CHECKING:
    from yaml import SafeLoader as _SafeLoader
else:  # libyaml, where PyYAML was built with it, reads a table seven times as fast; both give the same values
    _SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):
    """Safe, resolves plain values alone, and refuses keys that come twice."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as the base class declares it

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


class _Dumper(yaml.SafeDumper):
    """Quotes text that the loader would take for a number."""


for _tag, _pattern, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"null|~|", ["n", "~", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9]{0,18})", "-+0123456789"),
    # The sign of an exponent must be there, for a commit's short hash may read 1234e56.
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+][0-9]{1,3})?|[-+]?\.inf|\.nan", "-+.0123456789"),
):
    for _each in (_Loader, _Dumper):
        _each.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})\\Z"), list(_first))


def read_strict_yaml(path: Path, *, before: str | None = None) -> object:
    """The one document in ``path``.

    Args:
        path: of the file.
        before: reads the lines above the one that starts with this text only; that is fast where the rest is long.

    Raises:
        BadProfile: the file cannot be read, is empty, is larger than 500 kB, is not UTF-8 or not this strict YAML.
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
        document = _parse(content.decode("utf-8"), levels=_TABLE_LEVELS, scalar=_TABLE_SCALAR)
    except UnicodeDecodeError as error:
        raise BadProfile(f"{path}: byte {error.start} is not UTF-8 text") from error
    except (yaml.YAMLError, ValueError) as error:
        raise BadProfile(f"{path}: {_sentence(error)}") from error
    if document is None:
        raise BadProfile(f"{path}: is empty; remove it, or write a table there: zoo devices measure")
    return document


def read_plain_yaml(text: str) -> Any:
    """The document in ``text``, which is of a package.

    Raises:
        ValueError: it is no strict YAML, is longer than a million characters or nested too deep.
    """
    if len(text) > _PACKAGE_CHARACTERS:
        raise ValueError(f"this is no plain YAML: longer than {_PACKAGE_CHARACTERS} characters")
    try:
        return _parse(text, levels=_PACKAGE_LEVELS, scalar=_PACKAGE_SCALAR)
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"this is no plain YAML: {_sentence(error)}") from None


def flow_yaml(value: object) -> str:
    """``value`` on one line; what ``read_strict_yaml`` gives back."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, sort_keys=False, width=10**9, allow_unicode=True
    )
    return text.removesuffix("...\n").strip("\n")


def _parse(text: str, *, levels: int, scalar: int) -> Any:
    _refuse_what_grows(text, levels, scalar)
    return _Loader(text).get_single_data()


def _refuse_what_grows(text: str, levels: int, scalar: int) -> None:
    """Refuse what makes a small file large in memory or slow to read, before anything is made of it."""
    depth = 0
    for event in yaml.parse(text, Loader=_SafeLoader):
        if isinstance(event, yaml.NodeEvent):
            if event.anchor:
                _refuse("anchors and aliases are not allowed", event.start_mark)
            if getattr(event, "tag", None):
                _refuse("tags are not allowed", event.start_mark)
            if depth >= levels:
                _refuse(f"nested deeper than {levels} levels", event.start_mark)
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > scalar:
            _refuse(f"a value is longer than {scalar} characters", event.start_mark)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)


def _refuse(problem: str, mark: Any) -> NoReturn:
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _sentence(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {' '.join(error.problem.split())}"
    return " ".join(str(error).split())
