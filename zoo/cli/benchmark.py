"""``zoo benchmark``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.console import Json, Quiet, Talk, columns, ms_text


def benchmark_command(
    package: Annotated[str, typer.Argument(help="A package's folder, or a name.")],
    threads: Annotated[list[int] | None, typer.Option(min=1, help="May be repeated; default: 1, 2, 4 ...")] = None,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="May be repeated; default 1 and 8.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw it into this file: png, svg or pdf.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Time every artefact of a package on this machine, by threads and batch size."""
    from zoo.catalogue.locate import locate
    from zoo.devices.tables import this_device
    from zoo.plots import check_plot
    from zoo.use.benchmark import benchmark, plot_benchmark

    if plot is not None:
        check_plot(plot)
    talk = Talk(as_json=as_json, quiet=quiet)
    with talk.progress() as progress:
        folder = locate(package, progress=progress, say=talk.say)
        rows = benchmark(folder, threads=threads, batches=batch or (1, 8), progress=progress)
    table = [("file", "precision", "threads", "batch", "median ms", "p90 ms", "samples", "images/s", "")]
    for row in rows:
        times = (ms_text(row.median_ms), ms_text(row.p90_ms), str(row.samples), f"{row.images_per_s:.0f}")
        best = "fastest" if row.is_fastest else ""
        table.append((row.file, row.precision, str(row.threads), str(row.batch), *times, best))
    talk.data({"device": this_device().id, "rows": [asdict(row) for row in rows]}, columns(table))
    if plot is not None:
        talk.say(str(plot_benchmark(rows, plot, title=f"{folder.name} on {this_device().chip}")))
