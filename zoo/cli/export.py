"""``zoo export``."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.checks import MOST_THREADS
from zoo.cli.console import Json, Quiet, Talk, Threads, columns, ms_text, size_text
from zoo.errors import VERIFICATION_FAILED

if TYPE_CHECKING:
    from hardware_profiles.types import Precision
    from zoo.use.export import Exported


class Target(StrEnum):
    """A kind of device."""

    POINT = "point"
    EDGE = "edge"
    CLOUD = "cloud"


_PRECISIONS: dict[int, Precision] = {8: "int8", 16: "fp16", 32: "fp32"}

Source = Annotated[str, typer.Argument(help="A package's folder, a name, or a supernet's folder or name.")]
Calibration = Annotated[
    Path | None, typer.Option("--calibration", help="A folder of real images, no labels; without it no int8 is made.")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="The package to make.")]


def export_command(
    source: Source,
    target: Annotated[Target, typer.Option(help="The kind of device.")],
    out: Out,
    calibration: Calibration = None,
    architecture: Annotated[str | None, typer.Option(help="Of a supernet: largest, smallest or a JSON list.")] = None,
    quantize: Annotated[list[int] | None, typer.Option(help="8, 16 or 32 bits; may be repeated.")] = None,
    opset: Annotated[int | None, typer.Option(help="13 to 18.")] = None,
    batch: Annotated[int | None, typer.Option(min=0, help="Images in a call; 0 for any.")] = None,
    resolution: Annotated[int | None, typer.Option(min=8, help="Side of the input in pixels.")] = None,
    simplify: Annotated[bool, typer.Option("--simplify/--no-simplify", help="Let onnxslim clean the graphs.")] = True,
    uint8_input: Annotated[bool, typer.Option("--uint8-input", help="Normalize inside the graph: uint8 NHWC.")] = False,
    nms: Annotated[bool, typer.Option("--nms", help="Select a detector's boxes inside the graph.")] = False,
    min_agreement: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of images on which int8 must see what torch sees.")
    ] = None,
    threads: Threads = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier package at --out.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make all artefacts for a kind of device; compare each with torch, time it, refuse what is wrong (exit 4)."""
    precisions = _precisions(quantize)
    from zoo.package.card import card_document
    from zoo.use.export import Options, export_package

    talk = Talk(as_json=as_json, quiet=quiet)
    with talk.progress() as progress:
        made = export_package(
            source,
            target=target.value,
            calibration=calibration,
            out=out,
            options=Options(
                precisions=precisions,
                opset=opset,
                batch=batch,
                resolution_px=resolution,
                simplify=simplify,
                uint8_input=uint8_input,
                nms=nms,
                min_agreement=min_agreement,
            ),
            architecture=architecture,
            threads=threads,
            overwrite=overwrite,
            progress=progress,
            say=talk.say,
        )
    best = made.delivered.recommended
    document = {
        "path": str(made.path),
        "recommended": None if best is None else f"onnx/{best.path.name}",
        "refused": list(made.delivered.refused),
        "notes": list(made.delivered.notes),
        "card": card_document(made.card),
    }
    talk.data(document, _summary(made))
    talk.next(f"zoo info {out}", f"zoo benchmark {out}")
    if made.delivered.refused:
        raise typer.Exit(VERIFICATION_FAILED)


def _precisions(bits: list[int] | None) -> tuple[Precision, ...] | None:
    if bits and (unknown := [value for value in bits if value not in _PRECISIONS]):
        raise typer.BadParameter(f"--quantize {unknown[0]} has no precision; use 8, 16 or 32")
    return tuple(_PRECISIONS[value] for value in bits) if bits else None


def _summary(made: Exported) -> list[str]:
    best = made.delivered.recommended
    rows = [("file", "precision", "size", "ms", "agreement", "smallest cosine", "")]
    for packaged, report in zip(made.card.reports, made.delivered.reports, strict=True):
        seen = report.comparison.agreement
        cosine = min(output.min_cosine for output in report.comparison.outputs)
        rows.append(
            (
                str(made.path / packaged.path),
                report.target.precision,
                size_text(report.bytes),
                ms_text(report.measured.median_ms if report.measured else None),
                "-" if seen is None else f"{100 * seen:.1f} %",
                f"{cosine:.6f}",
                "recommended" if report == best else "",
            )
        )
    return columns(rows)


def benchmark_command(
    package: Annotated[str, typer.Argument(help="A package's folder, or a name.")],
    threads: Annotated[
        list[int] | None, typer.Option(min=1, max=MOST_THREADS, help="May be repeated; default: 1, 2, 4 ...")
    ] = None,
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
