"""``zoo devices sample``, ``fit`` and ``adapt``: a table of a device that only whole networks can be timed on."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.console import Json, Quiet, Talk
from zoo.cli.devices import Net, Resolution

if TYPE_CHECKING:
    from hardware_profiles.types import LatencyTable


class Kind(StrEnum):
    """Of device."""

    POINT = "point"
    EDGE = "edge"
    MOBILE = "mobile"
    CLOUD = "cloud"


class Precision(StrEnum):
    """Of the networks that were timed."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


DeviceId = Annotated[str, typer.Option("--device", help="The new device's id: a-z, 0-9, dashes.")]
Chip = Annotated[str, typer.Option(help="What the device is.")]
Reference = Annotated[str, typer.Option(help="Who timed it, and how.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="A file FILE.yaml, or the folder to keep the table in.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier table.")]


def sample_command(
    count: Annotated[int, typer.Option("-n", "--networks", min=1, max=10_000, help="How many networks.")] = 10,
    net: Net = "mobile",
    resolution: Resolution = 32,
    onnx: Annotated[Path | None, typer.Option(help="Also write each network as ONNX into this folder.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images in one forward pass, for --onnx.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same tables: same networks.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Networks to time on a new device, as CSV with an empty column for the milliseconds."""
    from zoo.devices.onboard import sample_networks, write_networks
    from zoo.devices.times import network_label, times_text

    talk = Talk(as_json=as_json, quiet=quiet)
    networks = sample_networks(net, resolution, count, seed=seed)
    if onnx is not None:
        talk.say(f"{len(write_networks(networks, onnx, batch=batch))} networks in {onnx}; their weights are random")
    value = [{"network": network_label(i), "architecture": list(one.choices)} for i, one in enumerate(networks)]
    talk.data(value, times_text(networks).splitlines())


def fit_command(
    times: Annotated[Path, typer.Argument(help="CSV: network,architecture,latency_ms.")],
    device: DeviceId,
    net: Net = "mobile",
    resolution: Resolution = 32,
    kind: Annotated[Kind, typer.Option(help="Of device.")] = Kind.EDGE,
    chip: Chip = "not stated",
    runtime: Annotated[str, typer.Option(help="What ran the networks.")] = "not stated",
    runtime_version: Annotated[str, typer.Option(help="Its version.")] = "",
    precision: Annotated[Precision, typer.Option(help="Of the networks.")] = Precision.FP32,
    batch: Annotated[int, typer.Option(min=1, help="Images in one forward pass.")] = 1,
    threads: Annotated[int, typer.Option(min=0, help="Of the runtime; 0: not known.")] = 0,
    reference: Reference = "not stated",
    license: Annotated[str, typer.Option(help="Of the times.")] = "not stated",
    out: Out = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """A table from the times of hundreds of whole networks; a fifth of them, unseen by the fit, says how good it is."""
    from hardware_profiles.types import DeviceProfile
    from zoo.devices.onboard import fit_device

    profile = DeviceProfile(
        id=device,
        kind=kind.value,
        chip=chip,
        memory_bytes=0,
        runtime=runtime,
        runtime_version=runtime_version,
        precision=precision.value,
        batch=batch,
        threads=threads,
        source="fitted",
        reference=reference,
        license=license,
    )
    _keep(fit_device(times, net, resolution, profile), out, overwrite, Talk(as_json=as_json, quiet=quiet))


def adapt_command(
    like: Annotated[str, typer.Option(help="A known device of the same kind and runtime.")],
    measured: Annotated[Path, typer.Option(help="CSV: network,architecture,latency_ms.")],
    device: DeviceId,
    net: Net = "mobile",
    resolution: Resolution = 32,
    chip: Chip = "not stated",
    reference: Reference = "not stated",
    out: Out = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """A table of a new device from the times of 10 to 20 networks and the tables of all known devices."""
    from zoo.devices.onboard import adapt_device

    table = adapt_device(measured, net, resolution, like=like, device_id=device, chip=chip, reference=reference)
    _keep(table, out, overwrite, Talk(as_json=as_json, quiet=quiet))


def _keep(table: LatencyTable, out: Path | None, overwrite: bool, talk: Talk) -> None:
    """Write the table and say how good it is."""
    from hardware_profiles.tables.files import save_table
    from hardware_profiles.tables.find import table_name
    from zoo.devices.tables import quality
    from zoo.errors import OutputExists
    from zoo.home import own_tables

    path = out if out is not None and out.suffix == ".yaml" else (out or own_tables()) / table_name(table)
    if path.exists() and not overwrite:
        raise OutputExists(f"{path} exists; choose another --out, or give --overwrite to replace it")
    save_table(table, path)
    value: dict[str, Any] = {"path": str(path), "device": asdict(table.device)}
    talk.data(value | {"validation": table.validation and asdict(table.validation)}, [f"{path}  {quality(table)}"])
    where = (
        ""
        if path.parent == own_tables()
        else f"mkdir -p {own_tables()} && cp {path} {own_tables()}/{table_name(table)}"
    )
    show = f"zoo devices show {table.device.id} --net {table.net} --resolution {table.resolution_px}"
    talk.next(*([where] if where else []), show)
