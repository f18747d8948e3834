"""``zoo devices sample``, ``fit`` and ``adapt``: a table of a device that only whole networks can be timed on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hardware_profiles.types import Kind, Precision
from zoo.cli.console import Json, Quiet, Talk
from zoo.cli.devices import Net, Resolution

if TYPE_CHECKING:
    from hardware_profiles.types import CostModel, LatencyTable, Validation


Library = Literal["torchvision", "timm"]
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
    kind: Annotated[Kind, typer.Option(help="Of device.")] = "edge",
    chip: Chip = "not stated",
    runtime: Annotated[str, typer.Option(help="What ran the networks.")] = "not stated",
    runtime_version: Annotated[str, typer.Option(help="Its version.")] = "",
    precision: Annotated[Precision, typer.Option(help="Of the networks.")] = "fp32",
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
        kind=kind,
        chip=chip,
        memory_bytes=0,
        runtime=runtime,
        runtime_version=runtime_version,
        precision=precision,
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


def fit_public_command(
    file: Annotated[Path, typer.Argument(help="CSV: qai_hub_models.csv, or one of timm's results.")],
    models: Annotated[Library, typer.Option(help="What builds the networks.")],
    device: Annotated[str | None, typer.Option(help="One of the file's devices, e.g. galaxy-s24 or rtx-5090.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Each device that is predicted well enough.")] = False,
    batch: Annotated[int, typer.Option(min=1, help="Images of one pass, where larger batches were timed.")] = 1,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The folder to keep the cost models in.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """What a device takes for each unit of work, fitted to whole networks: it prices any block at any size.

    Each model is left out in turn and predicted from the others, which says how good the fit is.
    """
    from hardware_profiles.errors import BadTimes
    from hardware_profiles.tables.find import keep_table, table_name
    from zoo.devices.public import fit_published, good_enough, read_published
    from zoo.errors import OutputExists
    from zoo.home import own_tables

    if (device is None) != every:
        raise typer.BadParameter("give the id of one device, or --all", param_hint="--device")
    talk, folder = Talk(as_json=as_json, quiet=quiet), out or own_tables()
    published = read_published(file)
    ids = [device] if device is not None else sorted({one.id for one in published})
    counts: dict[Any, Any] = {}
    kept: list[tuple[Path, CostModel]] = []
    for one in ids:
        made_by = f"zoo devices fit-public {file.name} --models {models} --device {one}" + (
            f" --batch {batch}" if batch > 1 else ""
        )
        try:
            with talk.progress() as progress:
                model, left_out = fit_published(
                    published, models, one, batch=batch, made_by=made_by, progress=progress, counts=counts
                )
        except BadTimes as error:
            if not every:
                raise
            talk.say(f"{one}: {error}")
            continue
        for rule, count in sorted(left_out.items()):
            talk.say(f"{one}: {count} rows left out: {rule}")
        if every and not good_enough(model):
            talk.say(f"{one}: not kept, {_quality(model.validation)}; --device {one} keeps it all the same")
            continue
        path = folder / table_name(model)
        if path.exists() and not overwrite:
            raise OutputExists(f"{path} exists; choose another --out, or give --overwrite to replace it")
        kept.append((keep_table(model, folder), model))
        talk.say(f"{path}  {_quality(model.validation)}; MobileNet-like: {_quality(model.mobile_validation)}")
    value = [
        {
            "path": str(path),
            "device": asdict(model.device),
            "validation": model.validation and asdict(model.validation),
            "mobile_validation": model.mobile_validation and asdict(model.mobile_validation),
        }
        for path, model in kept
    ]
    talk.data(value, [str(path) for path, _ in kept])
    talk.next(*(f"zoo devices show {model.device.id} --net mobile-photo --resolution 224" for _, model in kept[:1]))


def _quality(figures: Validation | None) -> str:
    if figures is None:
        return "none"
    ranking = f"Kendall tau {figures.kendall_tau:.2f}, {figures.networks} networks"
    return f"median error {figures.median_percent:.1f} %, {ranking}"
