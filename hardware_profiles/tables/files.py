"""Files: a latency table as YAML, one block a line, and back; ``load_table(save_table(x)) == x``.

Schema 2 has ``scaling``, ``checks`` and ``spearman_rho`` more than schema 1, schema 3 ``median_percent`` and cost
models; all are read. A cost model has ``terms``, ``mobile_validation`` and ``made_by`` in place of ``entries``.

schema: 3
device: {id: ..., kind: cloud, chip: ..., ...}
net: mobile
resolution_px: 32
overhead_ms: 0.0
scale: 1.06
validation: {networks: 10, mape_percent: 1.1, ...}
measured_at: '2026-11-21T03:42:49+00:00'
scaling: null
entries:
- {op: mbconv 16>24 k5 s2 e6 g1 @32x32, median_ms: 0.0312, p90_ms: 0.0331, samples: 240}
checks: [[0.512, 0.509], ...]    # predicted and measured ms of networks that validated it
"""

from __future__ import annotations

import difflib
import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, PositiveInt, ValidationError

from hardware_profiles.errors import BadOp, BadProfile
from hardware_profiles.ops import parse_op
from hardware_profiles.replace_file import replace_file
from hardware_profiles.tables.strict_yaml import MAX_BYTES, flow_yaml, read_strict_yaml
from hardware_profiles.types import (
    Check,
    CostModel,
    DeviceProfile,
    Kind,
    Latency,
    LatencyTable,
    OpKey,
    Precision,
    Scaling,
    Source,
    TableHead,
    Validation,
)

SCHEMA = 3
_READABLE = (1, 2, 3)
# No network of ours takes a minute for one block; seconds taken for milliseconds, or hours, do.
_LONGEST_MS = 60_000.0


def printable(text: str) -> str:
    """The text; ValueError for one that no screen shows."""
    if not text.isprintable():
        raise ValueError("holds characters that cannot be printed")
    return text


def _blocks_text(text: str) -> str:
    parse_op(text)
    return text


_Text = Annotated[str, Field(max_length=500), AfterValidator(printable)]
SlugText = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,119}$")]
_Ms = Annotated[FiniteFloat, Field(ge=0)]
_BlockMs = Annotated[FiniteFloat, Field(ge=0, le=_LONGEST_MS)]
_Percent = Annotated[FiniteFloat, Field(ge=0, le=100)]


class Strict(BaseModel):
    """What a file holds: these fields, of these very types."""

    model_config = ConfigDict(extra="forbid", strict=True)


class _Device(Strict):
    id: SlugText
    kind: Kind
    chip: _Text
    memory_bytes: Annotated[int, Field(ge=0)]
    runtime: _Text
    runtime_version: _Text
    precision: Precision
    batch: PositiveInt
    threads: Annotated[int, Field(ge=0)]
    source: Source
    reference: _Text
    license: _Text


class _Validation(Strict):
    networks: PositiveInt
    mape_percent: _Ms
    within_5_percent: _Percent
    within_10_percent: _Percent
    bias_percent: FiniteFloat
    kendall_tau: Annotated[FiniteFloat, Field(ge=-1, le=1)]
    spearman_rho: Annotated[FiniteFloat, Field(ge=-1, le=1)] | None = None
    median_percent: _Ms | None = None


class _Scaling(Strict):
    from_px: PositiveInt
    mape_percent: _Ms | None
    seen_on: _Text


class _Entry(Strict):
    op: Annotated[str, AfterValidator(_blocks_text)]
    median_ms: _BlockMs
    p90_ms: _BlockMs
    samples: PositiveInt


class _Head(Strict):
    schema_number: Literal[1, 2, 3] = Field(alias="schema")
    net: SlugText
    resolution_px: Annotated[int, Field(ge=0)]
    measured_at: _Text
    device: _Device
    overhead_ms: FiniteFloat
    scale: Annotated[FiniteFloat, Field(gt=0)]
    validation: _Validation | None
    scaling: _Scaling | None = None
    width_px: PositiveInt | None = None


_Checks = list[Annotated[list[_Ms], Field(min_length=2, max_length=2)]]


class _Table(_Head):
    resolution_px: PositiveInt
    entries: Annotated[list[_Entry], Field(min_length=1)]
    checks: _Checks = []


class _Costs(_Head):
    resolution_px: Literal[0]
    mobile_validation: _Validation | None
    made_by: _Text
    terms: Annotated[dict[SlugText, _Ms], Field(min_length=1)]
    checks: _Checks = []


_File = TypeVar("_File", bound=_Head)


def load_table(path: Path) -> LatencyTable:
    """Read a latency table.

    Raises:
        BadProfile: the file cannot be read, or is not exactly what ``save_table`` writes; names file and field.
    """
    file = _checked(_Table, read_strict_yaml(path), str(path))
    entries: dict[OpKey, Latency] = {}
    for i, entry in enumerate(file.entries):
        key = parse_op(entry.op)
        if key in entries:
            raise BadProfile(f"{path}: entries[{i}].op {entry.op!r} appears twice; keep one")
        entries[key] = Latency(median_ms=entry.median_ms, p90_ms=entry.p90_ms, samples=entry.samples)
    table = LatencyTable(**vars(_head(file)), entries=entries, checks=_checks(file.checks))
    _refuse_nonsense(table, path)
    return table


def load_costs(path: Path) -> CostModel:
    """Read a cost model.

    Raises:
        BadProfile: the file cannot be read, or is not exactly what ``save_costs`` writes; names file and field.
    """
    file = _checked(_Costs, read_strict_yaml(path), str(path))
    mobile = file.mobile_validation
    return CostModel(
        **vars(_head(file)),
        mobile_validation=Validation(**mobile.model_dump()) if mobile else None,
        made_by=file.made_by,
        terms=file.terms,
        checks=_checks(file.checks),
    )


def _refuse_nonsense(table: LatencyTable, path: Path) -> None:
    """Refuse numbers that are well-formed, one by one, and that no device has."""
    if table.overhead_ms + table.scale * sum(latency.median_ms for latency in table.entries.values()) <= 0:
        raise BadProfile(f"{path}: all blocks together take no time; measure again: zoo devices measure")


def _checks(rows: list[list[float]]) -> tuple[Check, ...]:
    return tuple(Check(predicted_ms=predicted, measured_ms=measured) for predicted, measured in rows)


def load_head(path: Path) -> TableHead:
    """Read all of a latency table but its blocks: in a hundredth of the time.

    Raises:
        BadProfile: that part of the file cannot be read, or is not what ``save_table`` writes.
    """
    return _head(_checked(_Head, read_strict_yaml(path, before="entries:"), str(path)))


def save_table(table: LatencyTable, path: Path) -> Path:
    """Write ``table`` to ``path`` in one step, its folder made where needed, and return ``path``.

    Raises:
        BadProfile: a table that ``load_table`` would refuse, or a path that cannot be written; nothing was left there.
    """
    entries = [{"op": str(key), **asdict(latency)} for key, latency in table.entries.items()]
    document = _document(table)
    checks = document.pop("checks")
    _checked(_Table, document | {"entries": entries, "checks": checks}, str(path))
    _refuse_nonsense(table, path)
    lines = [f"{name}: {flow_yaml(value)}" for name, value in document.items()]
    lines += ["entries:", *(f"- {flow_yaml(entry)}" for entry in entries)]
    lines += [f"checks: {flow_yaml(checks)}"] if checks else []
    _write(path, lines)
    return path


def save_costs(model: CostModel, path: Path) -> Path:
    """Write ``model`` to ``path`` as ``save_table`` writes a table."""
    document = _document(model)
    checks = document.pop("checks")
    document |= {
        "made_by": model.made_by,
        "mobile_validation": model.mobile_validation and asdict(model.mobile_validation),
        "terms": dict(model.terms),
        "checks": checks,
    }
    _checked(_Costs, document, str(path))
    _write(path, [f"{name}: {flow_yaml(value)}" for name, value in document.items()])
    return path


def _document(table: LatencyTable | CostModel) -> dict[str, Any]:
    return (
        {"schema": SCHEMA}
        | {name: getattr(table, name) for name in _HEAD if name != "width_px" or table.width_px is not None}
        | {
            "device": asdict(table.device),
            "validation": table.validation and asdict(table.validation),
            "scaling": table.scaling and asdict(table.scaling),
            "checks": [[check.predicted_ms, check.measured_ms] for check in table.checks],
        }
    )


_HEAD = [field.name for field in fields(TableHead)]


def _head(file: _Head) -> TableHead:
    return TableHead(
        device=DeviceProfile(**file.device.model_dump()),
        net=file.net,
        resolution_px=file.resolution_px,
        overhead_ms=file.overhead_ms,
        scale=file.scale,
        validation=Validation(**file.validation.model_dump()) if file.validation else None,
        measured_at=file.measured_at,
        scaling=Scaling(**file.scaling.model_dump()) if file.scaling else None,
        width_px=file.width_px,
    )


def _write(path: Path, lines: list[str]) -> None:
    content = ("\n".join(lines) + "\n").encode("utf-8")
    if len(content) > MAX_BYTES:
        raise BadProfile(f"{path}: would be {len(content)} bytes, the limit is {MAX_BYTES}; split the table")
    try:
        replace_file(path, content)
    except OSError as error:
        raise BadProfile(f"{path}: cannot be written: {error.strerror}; choose another folder") from error


def _checked(model: type[_File], document: object, name: str) -> _File:
    if not isinstance(document, dict):
        raise BadProfile(f"{name}: holds {type(document).__name__}, no latency table; it starts with schema: {SCHEMA}")
    found: Any = document.get("schema", SCHEMA)
    if type(found) is not int or found not in _READABLE:  # True equals 1
        shown = repr(found)[:40]
        raise BadProfile(f"{name}: schema is {shown}, this version reads {SCHEMA}; measure again or update subnet-zoo")
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        raise BadProfile(f"{name}: {_problem(first['type'], first['loc'], first['msg'], first['input'])}") from error
    except BadOp as error:
        raise BadProfile(f"{name}: {error}") from error


def _problem(kind: str, where: tuple[int | str, ...], message: str, value: object) -> str:
    field = re.sub(r"\.(\d+)", r"[\1]", ".".join(str(step)[:60] for step in where)) or "the file"
    if kind == "missing":
        return f"{field} is missing"
    if kind == "extra_forbidden":
        like = difflib.get_close_matches(str(where[-1]), _ALL_FIELDS, n=1, cutoff=0.5)
        return f"{field} is no known field" + (f"; did you mean {like[0]}?" if like else "")
    shown = repr(value) if isinstance(value, (str, int, float)) else f"a {type(value).__name__}"
    return f"{field} is {shown[:80]}: {message.removeprefix('Value error, ')}"


_ALL_FIELDS = [
    "schema",
    *(name for model in (_Table, _Costs, _Device, _Validation, _Scaling, _Entry) for name in model.model_fields),
]
