"""``zoo darts``."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli.console import Json, Quiet, Talk, columns, ms_text
from zoo.cli.search import Images, Out, Overwrite
from zoo.names import parse_budget

if TYPE_CHECKING:
    from zoo.make.darts_seed import Seed


class Preset(StrEnum):
    """The recipes; a test compares them with ``search.cells.recipe.PRESETS``."""

    QUICK = "quick"
    PAPER = "paper"


class Strategy(StrEnum):
    """How an edge mixes its operations."""

    DARTS = "darts"
    GUMBEL = "gumbel"


def darts_command(
    images: Images,
    out: Out,
    seeds: Annotated[int, typer.Option(min=1, help="Independent searches; the best one is chosen without labels.")] = 4,
    preset: Annotated[
        Preset, typer.Option(help="quick: minutes on 2 CPU cores; paper: 50 epochs, for a GPU.")
    ] = Preset.QUICK,
    strategy: Annotated[Strategy, typer.Option(help="How an edge mixes its operations.")] = Strategy.DARTS,
    device: Annotated[str, typer.Option(help="this, or an id that `zoo devices list` shows.")] = "this",
    budget: Annotated[str | None, typer.Option(help="What the network may take, e.g. 5ms.")] = None,
    cells: Annotated[int | None, typer.Option(help="Depth of the delivered network.")] = None,
    channels: Annotated[int | None, typer.Option(help="Channels of its first cell.")] = None,
    resolution: Annotated[int, typer.Option(min=8, help="Side of its input in pixels.")] = 32,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of the search, in place of the preset's.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the runtime on this machine.")] = None,
    terms: Annotated[str, typer.Option(help="The terms on which the images may be used, for the card.")] = "not stated",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search cells for these images without labels (SSNAS); deliver the network trained, compared, timed, packaged."""
    limits = parse_budget(budget) if budget is not None else None  # before the seconds that it takes to import torch
    from zoo.make.darts import PICTURES, darts, recipe_of
    from zoo.make.darts_seed import GENOTYPE

    talk = Talk(as_json=as_json, quiet=quiet)
    recipe = recipe_of(preset.value, strategy=strategy.value, epochs=epochs, seed=seed)
    with talk.progress() as progress:
        found = darts(
            images,
            out,
            recipe=recipe,
            seeds=seeds,
            device=device,
            budget=limits,
            cells=cells,
            channels=channels,
            resolution_px=resolution,
            threads=threads,
            terms=terms,
            resume=resume,
            overwrite=overwrite,
            progress=progress,
            say=talk.say,
        )
    rows: list[tuple[str, ...]] = [("seed", "held-out loss", "predicted ms", "measured ms", "epoch", "")]
    rows += [_row(one, chosen=one is found.chosen) for one in found.seeds]
    report = found.made.card.reports[0]
    measured_ms = report.measured.median_ms if report.measured else None
    times = f"predicted {ms_text(report.predicted_ms)} ms, measured {ms_text(measured_ms)} ms"
    lines = [*columns(rows), "", f"{out / GENOTYPE}  {found.chosen.genotype}", str(out / PICTURES[0])]
    lines.append(f"{found.made.path}  {found.made.card.name}  {times}")
    value = {"path": str(out), "chosen": found.chosen.seed, "package": str(found.made.path)}
    talk.data({**value, "name": found.made.card.name, "predicted_ms": report.predicted_ms}, lines)
    architecture = f"--architecture {out / GENOTYPE}"
    talk.next(f"zoo info {found.made.path}", f"zoo pretrain --images {images} --net cell {architecture} -o my-cell")


def _row(seed: Seed, *, chosen: bool) -> tuple[str, ...]:
    times = (ms_text(seed.predicted_ms), ms_text(seed.measured_ms))
    note = "; ".join(text for text in ("chosen" if chosen else None, seed.reason) if text)
    return (str(seed.seed), f"{seed.held_out_loss:.4f}", *times, str(seed.epoch), note)
