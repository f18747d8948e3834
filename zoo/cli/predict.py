"""``zoo predict``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli.console import Json, Quiet, Talk, columns

if TYPE_CHECKING:
    from zoo.heads.predictions import Prediction

_SHOWN = 5


def predict_command(
    package: Annotated[str, typer.Argument(help="A whole model: a package's folder, or a name.")],
    pictures: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for drawn pictures and JSON.")] = None,
    artefact: Annotated[str, typer.Option(help="torch, onnx, fp16 or int8.")] = "torch",
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Boxes below it are left out.")] = 0.3,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result at --out.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what a whole model sees in pictures, and draw it on them."""
    from zoo.use.predict import document, predict

    talk = Talk(as_json=as_json, quiet=quiet)
    with talk.progress() as progress:
        found = predict(
            package,
            pictures,
            out=out,
            artefact=artefact,
            min_score=min_score,
            overwrite=overwrite,
            progress=progress,
            say=talk.say,
        )
    rows = [
        ("picture", "size", "seen"),
        *((one.source, f"{one.size_px[0]}x{one.size_px[1]}", _seen(one)) for one in found),
    ]
    talk.data([document(one) for one in found], columns(rows))
    if out is not None:
        talk.say(f"drawn into {out}")


def _seen(one: Prediction) -> str:
    if one.classes:
        return ", ".join(f"{name} {100 * share:.0f} %" for name, share in one.classes[:2])
    if one.mask_HW is not None:
        return ", ".join(one.names[k] for k in sorted(set(one.mask_HW.ravel().tolist()))[:_SHOWN])
    counts: dict[str, int] = {}
    for box in one.boxes:
        counts[box.name] = counts.get(box.name, 0) + 1
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"
