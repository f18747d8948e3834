"""``zoo search`` and ``zoo pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.types import Task
from zoo.cli_talk import Json, Quiet, Talk, ms_text, size_text
from zoo.names import parse_budget

if TYPE_CHECKING:
    from zoo.types import ModelCard

Images = Annotated[Path, typer.Option("--images", help="A folder of images, any nesting; no labels are needed.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="The folder to make.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result at --out.")]


def search_command(
    images: Images,
    budget: Annotated[str, typer.Option(help="3ms, 20mmacs or 1mb.")],
    out: Out,
    task: Annotated[Task, typer.Option(help="What the network is for.")] = Task.CLS,
    device: Annotated[str, typer.Option(help="this, or an id that `zoo devices list` shows.")] = "this",
    supernet: Annotated[str, typer.Option(help="Name or folder of the supernet to search.")] = "mobile-mocov2",
    resolution: Annotated[int | None, typer.Option(min=8, help="Side of the input in pixels.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the runtime on this machine.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same images, same table: same network.")] = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find the best network for these images within a budget; deliver it compared, timed and packaged."""
    limits = parse_budget(budget)  # before the second that it takes to import torch
    from zoo.card import card_document
    from zoo.make import search

    talk = Talk(as_json=as_json, quiet=quiet)
    with talk.progress() as progress:
        made = search(
            images,
            out=out,
            budget=limits,
            task=task,
            device=device,
            supernet=supernet,
            resolution_px=resolution,
            threads=threads,
            seed=seed,
            overwrite=overwrite,
            progress=progress,
            say=talk.say,
        )
    talk.data({"path": str(made.path), "card": card_document(made.card)}, _summary(made.path, made.card))
    talk.next(f"zoo info {out}", f"python -c \"import zoo; print(zoo.get('{out}', verify=True))\"")


def pretrain_command(
    images: Images,
    out: Out,
    net: Annotated[str, typer.Option(help="The family of networks to train.")] = "mobile",
    objective: Annotated[str, typer.Option(help="The self-supervised objective.")] = "mocov2",
    epochs: Annotated[float | None, typer.Option(help="Passes over the images.")] = None,
    batch: Annotated[int | None, typer.Option(min=2, help="Images a step.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    resolution: Annotated[int | None, typer.Option(min=8, help="Side of the finished network's input.")] = None,
    terms: Annotated[str, typer.Option(help="The terms on which the images may be used, for the card.")] = "not stated",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a supernet on unlabelled images."""
    from zoo.train import recipe_of, train

    talk = Talk(as_json=as_json, quiet=quiet)
    recipe = recipe_of(net=net, objective=objective, epochs=epochs, batch=batch, seed=seed, resolution_px=resolution)
    with talk.progress() as progress:
        supernet = train(
            recipe, images, out, terms=terms, resume=resume, overwrite=overwrite, progress=progress, say=talk.say
        )
    about = supernet.card
    lines = [f"{out}  {about.name}: {about.training['steps']} steps in {about.training['seconds']} s"]
    talk.data({"path": str(out), "name": about.name, "training": dict(about.training)}, lines)
    talk.next(f"zoo search --images {images} --supernet {out} --budget 1ms -o my-model")


def _summary(path: Path, card: ModelCard) -> list[str]:
    lines = [f"{path}  {card.name}"]
    for report in card.reports:
        measured_ms = report.measured.median_ms if report.measured else None
        lines.append(
            f"{path / report.path}  {size_text(report.bytes)}  predicted {ms_text(report.predicted_ms)} ms,"
            f" measured {ms_text(measured_ms)} ms, {report.threads} thread(s) on {report.device}"
        )
    return lines
