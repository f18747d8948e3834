"""``zoo devices measure``: the latency tables of this machine."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from hardware_profiles.types import Kind, Precision
from zoo.cli.console import Json, Quiet, Talk, Threads, size_text
from zoo.names import parse_size
from zoo.supernets import PHOTO_NETS, usual_px

_LEAST_PX = 8  # networks halve their input three times
_LONGEST_ID = 64  # the file's name holds the id, a net and a size, and stays below 255
_Precisions = Annotated[list[str] | None, typer.Option("--precision", help="fp32; again for more.")]
_Classes = Annotated[
    list[int] | None, typer.Option("--classes", min=1, max=10_000, help="Of the heads, 20; again for more.")
]
_Resolutions = Annotated[
    list[str] | None,
    typer.Option("--resolution", help="Side of the input in px, or 320x192; of photos 224, else 32; again for more."),
]


def measure_command(
    net: Annotated[str, typer.Option(help="The family of networks.")] = PHOTO_NETS[0],
    resolution: _Resolutions = None,
    precision: _Precisions = None,
    runtime: Annotated[
        str, typer.Option(help="onnxruntime, onnxruntime-PROVIDER, openvino, torch-cuda or tensorrt.")
    ] = "onnxruntime",
    threads: Threads = None,
    batch: Annotated[int, typer.Option(min=1, help="Images in one forward pass.")] = 1,
    networks: Annotated[int, typer.Option(min=2, help="Unseen whole networks that tell how far off a table is.")] = 16,
    classes: _Classes = None,
    name: Annotated[str | None, typer.Option("--id", help="Call the device this, to share its table.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Measure although other work runs on this machine.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The folder to keep the tables in.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Time every block of a net on this machine; calibrate and validate the sums on whole networks.

    Interrupted, the same command goes on where it stopped.
    """
    from hardware_profiles.tables.find import keep_table
    from search.nets.heads import CLASSES
    from zoo.devices.names import DEFAULT_THREADS
    from zoo.devices.tables import quality
    from zoo.devices.this_machine import Setting, measure_here
    from zoo.home import own_tables

    talk, folder, found = Talk(as_json=as_json, quiet=quiet), out or own_tables(), []
    precisions = [_precision(text) for text in precision or ["fp32"]]
    if name is not None:
        _check_id(name, precisions)
    for width_px, height_px in map(_measurable, resolution or [str(usual_px(net))]):
        for each in precisions:
            used = Setting(precision=each, batch=batch, threads=threads or DEFAULT_THREADS, runtime=runtime)
            with talk.progress() as progress:
                table = measure_here(
                    net,
                    height_px,
                    width_px=None if width_px == height_px else width_px,
                    setting=used,
                    validate_on=networks,
                    classes=tuple(dict.fromkeys(classes or [CLASSES])),
                    progress=progress,
                    force=force,
                    started=folder,
                )
            if name is not None:
                table = replace(table, device=replace(table.device, id=name))
            found.append((keep_table(table, folder), table))
            talk.say(f"{found[-1][0]}  {quality(table)}")
    talk.data(
        [
            {"path": str(path), "device": table.device.id, "validation": table.validation and asdict(table.validation)}
            for path, table in found
        ],
        [str(path) for path, _ in found],
    )
    talk.next(*(f"zoo devices show {t.device.id} --net {net} --resolution {t.resolution_px}" for _, t in found))


def _measurable(text: str) -> tuple[int, int]:
    """``224`` or ``320x192`` -> width and height."""
    size = parse_size(text)
    if min(size) < _LEAST_PX:
        raise typer.BadParameter(f"{text} px; a side has at least {_LEAST_PX}", param_hint="--resolution")
    return size


def _precision(text: str) -> Precision:
    """One of several; typer checks such words only where one is taken."""
    if text not in get_args(Precision):
        raise typer.BadParameter(
            f"{text!r:.40} is not one of {', '.join(get_args(Precision))}", param_hint="--precision"
        )
    return cast("Precision", text)


def _check_id(name: str, precisions: list[Precision]) -> None:
    from hardware_profiles.measure.probe import slug

    if name != slug(name) or len(name) > _LONGEST_ID:
        raise typer.BadParameter(
            f"{name!r:.80} is no id; take lower-case letters, digits and hyphens, at most {_LONGEST_ID}",
            param_hint="--id",
        )
    if len(precisions) > 1:
        raise typer.BadParameter(f"{name!r} can be of one precision; measure them one by one", param_hint="--id")


def kit_command(
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path("kit.zip"),
    net: Annotated[str, typer.Option(help="The family of networks.")] = PHOTO_NETS[0],
    resolution: Annotated[
        int | None, typer.Option(min=8, help="Side of the input in pixels; of photos 224, else 32.")
    ] = None,
    precision: Annotated[Precision, typer.Option(help="Of weights and activations.")] = "fp32",
    batch: Annotated[int, typer.Option(min=1, help="Images in one forward pass.")] = 1,
    classes: _Classes = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Pack what times a net, heads included, on a machine that has only Python, numpy and onnxruntime."""
    from search.nets.heads import CLASSES
    from zoo.devices.this_machine import pack_kit

    talk, heads = Talk(as_json=as_json, quiet=quiet), tuple(dict.fromkeys(classes or [CLASSES]))
    with talk.progress() as progress:
        px = resolution or usual_px(net)
        path = pack_kit(net, px, out, precision=precision, batch=batch, classes=heads, progress=progress)
    size_bytes = path.stat().st_size
    talk.data({"path": str(path), "bytes": size_bytes}, [f"{path}  {size_text(size_bytes)}"])
    talk.say("on the machine to measure, which needs Python >= 3.9, numpy and onnxruntime:")
    talk.say(f"  python3 {path.name} --threads 1")
    talk.say("and back here:")
    talk.say("  zoo devices import kit-result.json")


def import_command(
    result: Annotated[Path, typer.Argument(help="The JSON file that the kit wrote.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The YAML file to write.")] = None,
    name: Annotated[str | None, typer.Option("--id", help="What to call the device; its chip by default.")] = None,
    kind: Annotated[Kind | None, typer.Option(help="Of device.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result of a kit.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make the latency table of what a device kit measured."""
    from hardware_profiles.kit.result import read_result
    from hardware_profiles.tables.files import save_table
    from hardware_profiles.tables.find import table_name
    from zoo.devices.fitted import refuse_foreign
    from zoo.devices.tables import quality
    from zoo.errors import OutputExists
    from zoo.home import own_tables

    table = read_result(result, device_id=name, kind=kind)
    path = out or own_tables() / table_name(table)
    if out is None:
        refuse_foreign(table.device)
    if path.exists() and not overwrite:
        raise OutputExists(f"{path} exists; give --overwrite to replace it, or another --id or --out")
    save_table(table, path)
    talk = Talk(as_json=as_json, quiet=quiet)
    value = {"path": str(path), "device": table.device.id, "validation": table.validation and asdict(table.validation)}
    talk.data(value, [f"{path}  {quality(table)}"])
    if out is None:
        talk.next(f"zoo devices show {table.device.id} --net {table.net} --resolution {table.resolution_px}")
