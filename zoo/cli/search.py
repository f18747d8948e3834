"""``zoo search``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search.types import Task
from zoo.cli.console import Json, Quiet, Talk, Threads, columns, ms_text, size_text
from zoo.errors import BadRequest
from zoo.names import parse_amount, parse_budget, parse_bytes, parse_size

if TYPE_CHECKING:
    from zoo.make.search import MadeEach
    from zoo.types import ModelCard

Images = Annotated[Path, typer.Option("--images", help="A folder of images, any nesting; no labels are needed.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="The folder to make.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result at --out.")]


def search_command(
    images: Images,
    budget: Annotated[list[str], typer.Option(help="3ms, 20mmacs or 1mb; again for every --device.")],
    out: Out,
    task: Annotated[Task, typer.Option(help="What the network is for.")] = Task.CLS,
    device: Annotated[
        list[str] | None, typer.Option(help="this, or what `zoo devices list` shows; again for more devices.")
    ] = None,
    supernet: Annotated[
        str | None, typer.Option(help="Name or folder of the supernet to search; one for photos unless told.")
    ] = None,
    resolution: Annotated[str | None, typer.Option(help="The input in pixels: 224, or 320x192 (det, seg).")] = None,
    classes: Annotated[int | None, typer.Option(help="Of a detector's or a segmenter's head, 20.")] = None,
    max_params: Annotated[str | None, typer.Option(help="At most so many parameters, e.g. 500k.")] = None,
    max_macs: Annotated[str | None, typer.Option(help="At most so many multiply-accumulates, e.g. 20m.")] = None,
    max_memory: Annotated[str | None, typer.Option(help="At most so many bytes at once, e.g. 2mb.")] = None,
    threads: Threads = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same images, same table: same network.")] = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find the best network for these images within a budget; deliver it compared, timed and packaged.

    Several devices share the scores; each gets a package of its own, and --out their fronts and a plot.
    """
    budgets = [parse_budget(text) for text in budget]  # before the second that it takes to import torch
    amounts = [None if text is None else parse_amount(text) for text in (max_params, max_macs)]
    amounts.append(None if max_memory is None else parse_bytes(max_memory))
    devices = device or ["this"]
    size_px = None if resolution is None else parse_size(resolution)
    from search.types import Budget
    from zoo.make.search import search, search_each
    from zoo.package.card import card_document

    talk = Talk(as_json=as_json, quiet=quiet)
    params, macs, memory = amounts
    limited = any(amount is not None for amount in amounts)
    limits = Budget(max_params=params, max_macs=macs, max_memory_bytes=memory) if limited else None
    with talk.progress() as progress:
        same: dict[str, Any] = {
            "out": out,
            "task": task,
            "supernet": supernet,
            "resolution_px": size_px,
            "limits": limits,
            "classes": classes,
            "threads": threads,
            "seed": seed,
            "overwrite": overwrite,
            "progress": progress,
            "say": talk.say,
        }
        if len(devices) > 1:
            each = search_each(images, devices=devices, budgets=budgets, **same)
        elif len(budgets) > 1:
            raise BadRequest(f"{len(budgets)} budgets for 1 device; give one, or a --device for each")
        else:
            made = search(images, device=devices[0], budget=budgets[0], **same)
    if len(devices) > 1:
        _show_each(each, talk)
        return
    talk.data({"path": str(made.path), "card": card_document(made.card)}, _summary(made.path, made.card))
    talk.next(f"zoo info {out}", f"python -c \"import zoo; print(zoo.get('{out}', verify=True))\"")


def _show_each(each: MadeEach, talk: Talk) -> None:
    """The packages of several devices, their fronts, and the plot."""
    from zoo.make.search import FRONTS
    from zoo.package.card import card_document

    cards = [{"path": str(made.path), "card": card_document(made.card)} for made in each.made]
    lines = [line for made in each.made for line in _summary(made.path, made.card)]
    rows = [("device", "predicted ms", "score", "network")]
    for result in each.results:
        for c in result.front:
            network = " ".join(map(str, c.architecture.choices))
            rows.append((result.device_id, ms_text(c.predicted_ms), f"{c.score:.4f}", network))
    files = [str(each.path / FRONTS), *([str(each.plot)] if each.plot else [])]
    talk.data({"path": str(each.path), "files": files, "devices": cards}, [*lines, "", *columns(rows), "", *files])
    talk.next(*(f"zoo info {made.path}" for made in each.made))


def _summary(path: Path, card: ModelCard) -> list[str]:
    lines = [f"{path}  {card.name}"]
    for report in card.reports:
        measured_ms = report.measured.median_ms if report.measured else None
        lines.append(
            f"{path / report.path}  {size_text(report.bytes)}  predicted {ms_text(report.predicted_ms)} ms"
            f" ({card.recipe.device.source} table),"
            f" measured {ms_text(measured_ms)} ms, {report.threads} thread(s) on {report.device}"
        )
    if card.split is not None:
        from zoo.types import split_text

        lines.append(f"of the whole model: {split_text(card.split)}")
    if card.head is not None and not card.head.trained:
        lines.append(f"its head for {len(card.head.classes)} class(es) is not trained yet: zoo finetune {path}")
    return lines
