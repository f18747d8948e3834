"""YAML from anywhere, read strictly: small, shallow, without aliases, tags or repeated keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import yaml

from hardware_profiles.errors import BadProfile

MAX_BYTES = 500_000
_MAX_DEPTH = 5
_MAX_SCALAR = 1000


class _Loader(yaml.SafeLoader):
    """Safe, and refuses aliases, deep nesting and keys that come twice."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse what makes a small file large in memory."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.NodeEvent) and event.anchor:
            _refuse("anchors and aliases are not allowed", event.start_mark)
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > _MAX_SCALAR:
            _refuse(f"a value is longer than {_MAX_SCALAR} characters", event.start_mark)
        if self.depth >= _MAX_DEPTH:
            _refuse(f"nested deeper than {_MAX_DEPTH} levels", event.start_mark)
        self.depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

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


def read_strict_yaml(path: Path) -> object:
    """The one document in ``path``.

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
    try:
        return _Loader(content.decode("utf-8")).get_single_data()
    except UnicodeDecodeError as error:
        raise BadProfile(f"{path}: byte {error.start} is not UTF-8 text") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2026-13-45
        raise BadProfile(f"{path}: {_sentence(error)}") from error


def _refuse(problem: str, mark: Any) -> NoReturn:
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _sentence(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {' '.join(error.problem.split())}"
    return " ".join(str(error).split())
