"""Values of this package as plain documents, for JSON or YAML, and back: ``read_document(T, to_document(x)) == x``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from export.errors import MalformedReport

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SCHEMA = 1

T = TypeVar("T", bound="DataclassInstance")


def to_document(value: DataclassInstance) -> dict[str, Any]:
    """Return a dataclass, e.g. an ``ExportReport``, as nested dicts and lists of plain values.

    Numbers that JSON cannot hold become ``"inf"``, ``"-inf"`` and ``"nan"``; a path is written with forward slashes.
    """
    assert is_dataclass(value)
    return {"schema": SCHEMA, **_plain(asdict(value))}


def read_document(kind: type[T], document: Mapping[str, Any]) -> T:
    """Return the value that ``to_document`` wrote.

    Args:
        kind: the dataclass to read, e.g. ``ExportReport``.
        document: what ``json.load`` or ``yaml.safe_load`` returned.

    Raises:
        MalformedReport: another schema, an unknown or missing key, or a value of the wrong type.
    """
    if not isinstance(document, Mapping):
        raise MalformedReport(f"a stored {kind.__name__} is a mapping, not {type(document).__name__}; export again")
    if document.get("schema") != SCHEMA:
        found = document.get("schema")
        raise MalformedReport(f"a {kind.__name__} of schema {found!r} was stored; this version reads {SCHEMA}")
    body = {key: value for key, value in document.items() if key != "schema"}
    try:
        value: T = _adapter(kind).validate_python(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise MalformedReport(f"a stored {kind.__name__} has a bad {where}: {first['msg']}; export again") from error
    if unknown := _unknown_keys(body, to_document(value)):
        raise MalformedReport(f"a stored {kind.__name__} has the unknown key {unknown[0]}; remove it or export again")
    return value


@cache
def _adapter(kind: type[T]) -> TypeAdapter[T]:  # made in 40 ms
    return TypeAdapter(kind)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _unknown_keys(found: Any, known: Any, where: str = "") -> list[str]:
    if isinstance(found, Mapping) and isinstance(known, Mapping):
        extra = [f"{where}{key}" for key in found if key not in known]
        return extra + [k for key in known for k in _unknown_keys(found.get(key), known[key], f"{where}{key}.")]
    if isinstance(found, (list, tuple)) and isinstance(known, list):
        pairs = enumerate(zip(found, known, strict=True))
        return [key for i, (a, b) in pairs for key in _unknown_keys(a, b, f"{where}{i}.")]
    return []
