"""Settings: fields of a recipe from a file and from ``--set``, checked against the recipe's own types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from search.recipes import Recipe
from zoo.errors import BadRecipe
from zoo.names import nearest, shown

# Strict: a text is no number; a list is a tuple all the same, for files have no tuples.
_strict: TypeAdapter[Recipe] = TypeAdapter(with_config(ConfigDict(extra="forbid"))(Recipe))


def read_settings(file: Path | None, assignments: Sequence[str] = ()) -> dict[str, Any]:
    """Fields by their names (``views.blur_p`` is one of the views), those of ``assignments`` before those of the file.

    Args:
        file: YAML or JSON, as ``recipe`` is in the ``card.json`` of a supernet; that file itself will do.
        assignments: each ``FIELD=VALUE``, the value as YAML has it.

    Raises:
        BadRecipe: the file cannot be read, or an assignment is none.
    """
    settings: dict[str, Any] = {}
    if file is not None:
        try:
            content = yaml.safe_load(file.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise BadRecipe(f"{file} cannot be read: {' '.join(str(error).split())}") from None
        if isinstance(content, dict) and isinstance(content.get("recipe"), dict):
            content = content["recipe"]
        if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
            raise BadRecipe(f"{file} holds no fields of a recipe; write one a line, as in `lr: 0.1`")
        settings |= content
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name.strip():
            raise BadRecipe(f"--set {shown(assignment)} is not FIELD=VALUE, as queue=4096 is")
        try:
            settings[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise BadRecipe(f"--set {shown(assignment)}: the value is not one of YAML; put it in quotes") from None
    return settings


def with_settings(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """``recipe`` with other fields.

    Raises:
        BadRecipe: no such field, a value of another type, or a recipe that cannot train.
    """
    fields = asdict(recipe)
    for name, value in settings.items():
        part, _, field = name.rpartition(".")
        place = fields[part] if part in ("views", "teacher_views") else fields if not part else None
        if not isinstance(place, dict) or field not in place:
            known = [*fields, *(f"views.{view}" for view in fields["views"])]
            raise BadRecipe(f"a recipe has no field {shown(name)}; nearest: {', '.join(nearest(name, known))}")
        place[field] = value
    try:
        return _strict.validate_python(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        why = first["msg"].removeprefix("Value error, ")
        raise BadRecipe(f"{where} is {shown(str(first['input']))}: {why}" if where else why) from None
