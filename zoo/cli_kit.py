"""``zoo devices kit`` and ``zoo devices import``: measure a machine that cannot run us."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli_measure import PrecisionOption
from zoo.cli_talk import Json, Quiet, Talk, size_text


def kit_command(
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path("kit.zip"),
    net: Annotated[str, typer.Option(help="The family of networks.")] = "mobile",
    resolution: Annotated[int, typer.Option(min=8, help="Side of the input in pixels.")] = 32,
    precision: Annotated[PrecisionOption, typer.Option(help="Of weights and activations.")] = PrecisionOption.FP32,
    batch: Annotated[int, typer.Option(min=1, help="Images in one forward pass.")] = 1,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Pack what times a net on a machine that has only Python, numpy and onnxruntime."""
    from zoo.measuring import pack_kit

    talk = Talk(as_json=as_json, quiet=quiet)
    with talk.progress() as progress:
        path = pack_kit(net, resolution, out, precision=precision.value, batch=batch, progress=progress)
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
    kind: Annotated[str | None, typer.Option(help="point, edge, mobile or cloud.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make the latency table of what a device kit measured."""
    from typing import get_args

    from hardware_profiles.devices import keep_table
    from hardware_profiles.files import save_table
    from hardware_profiles.kit.result import read_result
    from hardware_profiles.types import Kind
    from zoo.home import own_tables
    from zoo.tables import quality

    if kind is not None and kind not in get_args(Kind):
        raise typer.BadParameter(f"{kind!r} is no kind of device; there are {', '.join(get_args(Kind))}")
    table = read_result(result, device_id=name, kind=kind)  # type: ignore[arg-type]  # checked above
    path = save_table(table, out) if out else keep_table(table, own_tables())
    talk = Talk(as_json=as_json, quiet=quiet)
    value = {"path": str(path), "device": table.device.id, "validation": table.validation and asdict(table.validation)}
    talk.data(value, [f"{path}  {quality(table)}"])
    if out is None:
        talk.next(f"zoo devices show {table.device.id} --net {table.net} --resolution {table.resolution_px}")
