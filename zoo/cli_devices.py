"""``zoo devices``: the latency tables at hand, and measuring one on this machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli_talk import Json, Quiet, Talk, columns, ms_text

app = typer.Typer(no_args_is_help=True, help="Latency tables: list them, show one, measure this machine.")

Net = Annotated[str, typer.Option(help="The family of networks.")]
Resolution = Annotated[int, typer.Option(min=8, help="Side of the input in pixels.")]


@app.command("list")
def list_command(as_json: Json = False, quiet: Quiet = False) -> None:
    """All tables at hand."""
    from hardware_profiles.devices import ALIASES, list_tables
    from zoo.tables import own_tables

    talk = Talk(as_json=as_json, quiet=quiet)
    files = list_tables([own_tables()])
    aliases = {device: alias for alias, device in ALIASES.items()}
    rows = [("device", "net", "resolution", "alias", "file")]
    rows += [(f.device_id, f.net, f"{f.resolution_px} px", aliases.get(f.device_id, "-"), str(f.path)) for f in files]
    talk.data([{**asdict(file), "path": str(file.path)} for file in files], columns(rows) if files else [])
    if not files:
        talk.say("no table yet; `zoo devices measure` makes this machine's")


@app.command("show")
def show_command(
    device: Annotated[str, typer.Argument(help="An id, an alias, or this.")],
    net: Net = "mobile",
    resolution: Resolution = 32,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads, for this machine.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """One table: the device, its quality, its slowest blocks."""
    from hardware_profiles.devices import find_table
    from zoo.tables import own_tables, quality, this_device

    device_id = this_device(threads).id if device == "this" else device
    table = find_table(device_id, net=net, resolution_px=resolution, folders=[own_tables()])
    slowest = sorted(table.entries.items(), key=lambda item: item[1].median_ms, reverse=True)
    facts = [(key, str(value)) for key, value in asdict(table.device).items()]
    facts += [("measured at", table.measured_at), ("quality", quality(table))]
    facts += [("a network takes", f"{table.overhead_ms:.4f} ms + {table.scale:.4f} x the sum of its blocks")]
    blocks = [("slowest blocks", "ms"), *((str(key), ms_text(latency.median_ms)) for key, latency in slowest[:5])]
    document = {
        **vars(table),
        "device": asdict(table.device),
        "validation": table.validation and asdict(table.validation),
        "entries": {str(key): asdict(latency) for key, latency in table.entries.items()},
    }
    Talk(as_json=as_json, quiet=quiet).data(document, [*columns(facts), "", *columns(blocks)])


@app.command("measure")
def measure_command(
    net: Net = "mobile",
    resolution: Resolution = 32,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the runtime.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The folder to keep the table in.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Time every block of a net on this machine; calibrate and validate the sums on whole networks."""
    from hardware_profiles.devices import keep_table
    from zoo.tables import measure_here, own_tables, quality

    talk = Talk(as_json=as_json, quiet=quiet)
    with talk.progress() as progress:
        table = measure_here(net, resolution, threads=threads, progress=progress)
    path = keep_table(table, out or own_tables())
    value = {"path": str(path), "device": table.device.id, "validation": table.validation and asdict(table.validation)}
    talk.data(value, [f"{path}  {quality(table)}"])
    talk.next(f"zoo devices show {table.device.id} --net {net} --resolution {resolution}")
