"""YAML of strangers: mappings, lists and scalars only, so that no text is larger in memory than on disk."""

from __future__ import annotations

from typing import Any

import yaml

# A package's files have a few kB, and six levels.
_MOST_CHARACTERS = 1_000_000
_MOST_LEVELS = 20


class _PlainLoader(yaml.SafeLoader):
    """The safe loader without aliases, nine lines of which can stand for a billion values, and without depths."""

    level = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent) or self.level > _MOST_LEVELS:
            raise yaml.YAMLError("neither aliases nor depths are read")
        self.level += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self.level -= 1
        return node


def read_plain_yaml(text: str) -> Any:
    """The document in ``text``.

    Raises:
        ValueError: it is no YAML, is too long or nested too deep, or has an alias.
    """
    if len(text) > _MOST_CHARACTERS:
        raise ValueError("this is not plain YAML")
    try:
        loader = _PlainLoader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, AttributeError, LookupError, OverflowError):
        # PyYAML's constructors raise all of these on scalars such as ``!!int x`` or ``!!timestamp 0``.
        raise ValueError("this is not plain YAML") from None
