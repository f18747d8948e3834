"""Read what a device kit's program wrote, from whatever machine, and make the latency table of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, FiniteFloat, PositiveInt, ValidationError

from hardware_profiles.errors import BadKit, BadOp, MeasureFailed
from hardware_profiles.measure.plan import Plan
from hardware_profiles.measure.probe import slug
from hardware_profiles.ops import parse_op
from hardware_profiles.tables.files import SlugText, Strict, printable
from hardware_profiles.types import DeviceProfile, Kind, Latency, LatencyTable, OpKey, Precision

SCHEMA = 1
# What the reference of a table made of a kit's result begins with.
KIT = "zoo devices kit"
_MAX_BYTES = 5_000_000


_Text = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(printable)]
_Shape = Annotated[list[PositiveInt], Field(min_length=4, max_length=4)]
_Ns = Annotated[FiniteFloat, Field(ge=0, le=1e13)]


class _Block(Strict):
    op: _Text
    input: _Shape
    output: _Shape


class _Kit(Strict):
    schema_number: Literal[1] = Field(alias="schema")
    id: SlugText
    net: SlugText
    resolution_px: PositiveInt
    precision: Precision
    batch: PositiveInt
    calibrate_on: PositiveInt
    empty_twice: bool
    blocks: Annotated[list[_Block], Field(min_length=1, max_length=5000)]
    networks: Annotated[list[list[_Text]], Field(min_length=1, max_length=5000)]


class _Machine(Strict):
    chip: _Text
    cores: PositiveInt
    memory_bytes: Annotated[int, Field(ge=0)]
    architecture: _Text
    runtime: _Text
    runtime_version: _Text
    threads: PositiveInt


class _Result(Strict):
    schema_number: Literal[1] = Field(alias="schema")
    kit: _Kit
    machine: _Machine
    measured_at: _Text
    times: dict[str, tuple[_Ns, _Ns, PositiveInt]]


def read_result(path: Path, *, device_id: str | None = None, kind: Kind | None = None) -> LatencyTable:
    """The latency table that a kit's result holds.

    Args:
        path: of the JSON file.
        device_id: what to call the device; by default its chip, threads and precision.
        kind: of device; by default ``cloud`` for x86 and ``edge`` for any other.

    Raises:
        BadKit: the file cannot be read or is not what a kit writes; names the field.
        MeasureFailed: a time is missing, or the blocks are too small to time.
    """
    result = _checked(path)
    kit, machine = result.kit, result.machine
    times = {
        name: Latency(median_ms=median_ns / 1e6, p90_ms=p90_ns / 1e6, samples=samples)
        for name, (median_ns, p90_ns, samples) in result.times.items()
    }
    x86 = machine.architecture.lower() in ("x86_64", "amd64")
    used = f"t{machine.threads} {kit.precision}" + (f" b{kit.batch}" if kit.batch != 1 else "")
    device = DeviceProfile(
        id=device_id or slug(f"{machine.chip} {used}"),
        kind=kind or ("cloud" if x86 else "edge"),
        chip=f"{machine.chip}, {machine.cores} cores, {machine.architecture}",
        memory_bytes=machine.memory_bytes,
        runtime=machine.runtime,
        runtime_version=machine.runtime_version,
        precision=kit.precision,
        batch=kit.batch,
        threads=machine.threads,
        source="measured",
        reference=f"{KIT}, {kit.id}",
        license="Apache-2.0",
    )
    try:
        return _plan(kit).table(times, device, measured_at=result.measured_at)
    except (BadOp, MeasureFailed) as error:
        raise BadKit(f"{path}: {error}") from error


def _plan(kit: _Kit) -> Plan:
    blocks: dict[OpKey, Any] = {parse_op(block.op): (tuple(block.input), tuple(block.output)) for block in kit.blocks}
    if len(blocks) != len(kit.blocks):
        raise MeasureFailed("a block appears twice; make a new kit")
    return Plan(
        net=kit.net,
        resolution_px=kit.resolution_px,
        blocks=blocks,
        networks=tuple(tuple(parse_op(op) for op in ops) for ops in kit.networks),
        calibrate_on=kit.calibrate_on,
        empty_twice=kit.empty_twice,
    )


def _checked(path: Path) -> _Result:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise BadKit(f"{path}: larger than {_MAX_BYTES} bytes; a kit's result is below one million")
        document = json.loads(content, object_pairs_hook=_once)
        found = document.get("schema") if isinstance(document, dict) else None
        if type(found) is not int or found != SCHEMA:
            raise BadKit(f"{path}: schema is {repr(found)[:40]}, this version reads {SCHEMA}; make a new kit")
        return _Result.model_validate_json(content)
    except OSError as error:
        raise BadKit(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step)[:60] for step in first["loc"]) or "the file"
        raise BadKit(f"{path}: {where}: {first['msg']}; run the kit again") from error
    except (ValueError, RecursionError) as error:
        raise BadKit(f"{path}: is no JSON that a kit writes: {' '.join(str(error).split())[:120]}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse what JSON would silently overwrite."""
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)[:40]!r} appears twice")
    return found
