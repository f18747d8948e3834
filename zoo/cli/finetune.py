"""``zoo finetune``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from search.types import Task
from zoo.cli.console import Json, Quiet, Talk, columns, leaves, ms_text


def finetune_command(
    what: Annotated[str, typer.Argument(help="Name or folder of a package; or a supernet, with --architecture.")],
    data: Annotated[Path, typer.Option(help="Class folders or CSV; COCO, VOC or YOLO boxes; images and masks.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The package to make.")],
    task: Annotated[Task | None, typer.Option(help="What the labels are for; default: the package's.")] = None,
    size: Annotated[int | None, typer.Option(min=16, help="Side of the input in pixels.")] = None,
    val_fraction: Annotated[float, typer.Option(help="Judges, where the data has no folder for that.")] = 0.2,
    skip: Annotated[bool, typer.Option("--skip", help="Leave faulty pictures out, and count them.")] = False,
    architecture: Annotated[str | None, typer.Option(help="Of a supernet: largest, smallest or a JSON list.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="At most.")] = 100,
    batch: Annotated[int, typer.Option(min=2, help="Images a step.")] = 16,
    rate: Annotated[float | None, typer.Option(help="Learning rate; one that suits the task by default.")] = None,
    patience: Annotated[int, typer.Option(min=1, help="Epochs without a better score before it stops.")] = 30,
    max_minutes: Annotated[float | None, typer.Option(help="The training ends then.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    mirror: Annotated[bool, typer.Option(help="Left and right mean nothing: show mirrored pictures, too.")] = True,
    devices: Annotated[
        int | None, typer.Option(min=1, help="GPUs (or shares of the processor's cores) that share each batch.")
    ] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="Machines that share it.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier package at --out.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a model with a new head on labelled pictures; package, compare and time the whole."""
    from search.running import Running
    from zoo.make.finetune import Recipe, can_resume
    from zoo.package.card import card_document
    from zoo.use.finetune import finetune

    talk = Talk(as_json=as_json, quiet=quiet)
    leaves(lambda: f"the run to {out} is kept to its last epoch; go on with --resume" if can_resume(out) else None)
    recipe = Recipe(
        epochs=epochs, batch=batch, rate=rate, patience=patience, max_minutes=max_minutes, seed=seed, mirror=mirror
    )
    with talk.progress() as progress:
        made = finetune(
            what,
            data=data,
            out=out,
            task=task,
            size_px=size,
            val_fraction=val_fraction,
            skip=skip,
            architecture=architecture,
            recipe=recipe,
            running=Running(devices=devices, nodes=nodes),
            resume=resume,
            overwrite=overwrite,
            progress=progress,
            say=talk.say,
        )
    (report,) = made.card.reports
    rows = [("", *made.scores), ("torch", *_percents(made.scores)), ("onnx", *_percents(made.onnx_scores))]
    rows += [] if made.test_scores is None else [("test", *_percents(made.test_scores))]
    lines = [
        f"{made.path}  {made.epochs} epochs in {made.minutes:.1f} min, judged on {made.val_images} images;"
        f" whole model {ms_text(report.measured.median_ms if report.measured else None)} ms on {report.device}",
        *columns(rows),
    ]
    document = {
        "path": str(made.path),
        "scores": dict(made.scores),
        "onnx_scores": dict(made.onnx_scores),
        "test_scores": None if made.test_scores is None else dict(made.test_scores),
        "per_class": {name: value if value == value else None for name, value in made.per_class.items()},
        "epochs": made.epochs,
        "minutes": made.minutes,
        "train_images": made.train_images,
        "val_images": made.val_images,
        "card": card_document(made.card),
    }
    talk.data(document, lines)
    talk.next(
        f"zoo predict {out} PICTURES -o predicted", f"zoo export {out} --target edge --calibration PICTURES -o edge"
    )


def _percents(scores: Mapping[str, float]) -> list[str]:
    return [f"{100 * value:.1f} %" for value in scores.values()]
