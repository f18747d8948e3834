"""``zoo report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.console import Json, Quiet, Talk, size_text
from zoo.errors import BadRequest


def report_command(
    packages: Annotated[
        list[str] | None, typer.Argument(help="Packages' folders or names; several are compared.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file; without it report.html in the first package.")
    ] = None,
    catalogue: Annotated[bool, typer.Option("--catalogue", help="The whole zoo in place of packages.")] = False,
    images: Annotated[
        Path | None, typer.Option(help="Show some images of this folder, each with its nearest others.")
    ] = None,
    evaluation: Annotated[Path | None, typer.Option(help="What `zoo evaluate PACKAGE --json` printed.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier page.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a page to look at: one HTML file that needs no network."""
    if catalogue == bool(packages):
        raise BadRequest("name one or more packages, or ask for --catalogue")
    talk = Talk(as_json=as_json, quiet=quiet)
    if catalogue:
        from zoo.report.catalogue import report_catalogue

        file = report_catalogue(out or Path("catalogue.html"), overwrite=overwrite)
    else:
        from zoo.report.write import report

        with talk.progress() as progress:
            file = report(
                *(packages or ()),
                out=out,
                images=images,
                evaluation=evaluation,
                overwrite=overwrite,
                progress=progress,
                say=talk.say,
            )
    size = file.stat().st_size
    talk.data({"path": str(file), "bytes": size}, [f"{file}  {size_text(size)}"])
