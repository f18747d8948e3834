"""``zoo devices``: the latency tables at hand: list them, show one, check one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli.console import Json, Quiet, Talk, Threads, columns, ms_text
from zoo.supernets import LEAST_PHOTO_PX

if TYPE_CHECKING:
    from hardware_profiles.types import LatencyTable, TableHead, Validation

Net = Annotated[str, typer.Option(help="The family of networks.")]
Resolution = Annotated[int, typer.Option(min=8, help="Side of the input in pixels.")]
Device = Annotated[str, typer.Argument(help="An id, an alias, or this.")]


def list_command(
    kind: Annotated[str | None, typer.Option(help="Only these: point, edge, mobile or cloud.")] = None,
    runtime: Annotated[str | None, typer.Option(help="Only runtimes that contain this text.")] = None,
    precision: Annotated[str | None, typer.Option(help="Only these: fp32, fp16 or int8.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """All tables at hand, with the source and the error of each."""
    from hardware_profiles.errors import BadProfile
    from hardware_profiles.tables.find import BUNDLED, list_tables, stray_files
    from zoo.home import own_tables

    talk = Talk(as_json=as_json, quiet=quiet)
    for path in stray_files([own_tables()]):
        talk.say(f"left out: {path}: a table's name is DEVICE.NET-RESOLUTIONpx.yaml; rename or remove the file")
    heads: list[tuple[TableHead, Path]] = []
    for file in list_tables([own_tables()]):
        try:
            # Those that come along are known to make sense; only reading all of another one tells.
            is_table = file.net != "any" and file.path.parent != BUNDLED
            heads.append((file.load() if is_table else file.head(), file.path))
        except BadProfile as error:
            talk.say(f"left out: {error}")
    heads = [
        (head, path)
        for head, path in heads
        if kind in (None, head.device.kind)
        and precision in (None, head.device.precision)
        and (runtime or "").lower() in head.device.runtime.lower()
    ]
    heads.sort(key=lambda one: 0 < one[0].resolution_px < LEAST_PHOTO_PX)  # thumbnails' tables after those of photos
    talk.data([_document(head) | {"path": str(path)} for head, path in heads], columns(_rows(heads)) if heads else [])
    if not heads:
        talk.say("no such table; `zoo devices list` shows all, `zoo devices measure` makes this machine's")


def show_command(
    device: Device,
    net: Annotated[str | None, typer.Option(help="The family of networks.")] = None,
    resolution: Annotated[int | None, typer.Option(min=8, help="Side of the input in pixels.")] = None,
    threads: Threads = None,
    plot: Annotated[Path | None, typer.Option(help="Draw predicted against measured ms: .png, .svg, .pdf.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """One table: the device, its quality, its slowest blocks."""
    from zoo.devices.tables import quality, shown_by_default, table_of, this_device
    from zoo.plots import check_plot, plot_checks

    if plot is not None:
        check_plot(plot)
    talk = Talk(as_json=as_json, quiet=quiet)
    name = this_device(threads).id if device == "this" else device
    shown_net, shown_px = shown_by_default(name)
    table = table_of(name, net or shown_net, resolution or shown_px)
    slowest = sorted(table.entries.items(), key=lambda item: item[1].median_ms, reverse=True)
    facts = [(key, str(value)) for key, value in asdict(table.device).items()]
    facts += [("measured at", table.measured_at), ("quality", quality(table))]
    facts += _figures(table.validation)
    facts += [("a network takes", f"{table.overhead_ms:.4f} ms + {table.scale:.4f} x the sum of its blocks")]
    blocks = [("slowest blocks", "ms"), *((str(key), ms_text(latency.median_ms)) for key, latency in slowest[:5])]
    document = _document(table) | {
        "entries": {str(key): asdict(latency) for key, latency in table.entries.items()},
        "checks": [asdict(check) for check in table.checks],
    }
    if plot is not None:
        talk.say(str(plot_checks(table, plot)))
    talk.data(document, [*columns(facts), "", *columns(blocks)])


def validate_command(
    table: Annotated[str, typer.Argument(help="A table's file, or a device.")],
    times: Annotated[Path | None, typer.Option(help="CSV of networks timed on that device.")] = None,
    net: Net = "mobile",
    resolution: Resolution = 32,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check a table: well-formed, no block missing; with --times also how well it predicts those networks."""
    from hardware_profiles.tables.files import load_table
    from zoo.devices.onboard import validate_table
    from zoo.devices.tables import quality, table_of

    path = Path(table)
    is_file = path.suffix == ".yaml" or path.is_file()
    subject = load_table(path) if is_file else table_of(table, net, resolution)
    found = validate_table(subject, times)
    talk = Talk(as_json=as_json, quiet=quiet)
    lines = columns([("device", subject.device.id), ("quality", quality(subject)), *_figures(found)])
    value = {"device": subject.device.id, "source": subject.device.source, "validation": found and asdict(found)}
    talk.data(value, lines)


def _rows(heads: list[tuple[TableHead, Path]]) -> list[tuple[str, ...]]:
    from hardware_profiles.tables.find import ALIASES

    aliases = {device: alias for alias, device in ALIASES.items()}
    rows: list[tuple[str, ...]] = [("device", "kind", "batch", "net", "source", "error")]
    for head, _ in heads:
        about, figures = head.device, head.validation
        error = "-" if figures is None else f"{figures.mape_percent:.2f} %"
        net = f"{head.net}, {head.size_text} px" if head.resolution_px else head.net
        name = f"{about.id} = {aliases[about.id]}" if about.id in aliases else about.id
        rows.append((name, about.kind, f"{about.batch} {about.precision}", net, about.source, error))
    return rows


def _figures(figures: Validation | None) -> list[tuple[str, str]]:
    """The validation, for people."""
    if figures is None:
        return []
    rho = "-" if figures.spearman_rho is None else f"{figures.spearman_rho:.4f}"
    median = "" if figures.median_percent is None else f", median {figures.median_percent:.3f} %"
    return [
        ("mean error", f"{figures.mape_percent:.3f} %, bias {figures.bias_percent:+.3f} %{median}"),
        ("within 5 %, 10 %", f"{figures.within_5_percent:.1f} %, {figures.within_10_percent:.1f} %"),
        ("ranking", f"Kendall tau {figures.kendall_tau:.4f}, Spearman rho {rho}, {figures.networks} networks"),
    ]


def _document(table: TableHead | LatencyTable) -> dict[str, object]:
    """A table's head as plain values."""
    return {
        "device_id": table.device.id,
        "net": table.net,
        "resolution_px": table.resolution_px,
        "device": asdict(table.device),
        "overhead_ms": table.overhead_ms,
        "scale": table.scale,
        "validation": table.validation and asdict(table.validation),
        "scaling": table.scaling and asdict(table.scaling),
        "measured_at": table.measured_at,
    }
