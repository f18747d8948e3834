"""``zoo list``, ``zoo info``, ``zoo get``, ``zoo env``."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli_talk import Json, Quiet, Talk, columns, ms_text, size_text

Name = Annotated[str, typer.Argument(help="A package's folder, or a name such as data-mocov2-cls-1ms.")]
Images = Annotated[Path | None, typer.Option("--images", help="Unlabelled images to search on, where needed.")]


def list_command(
    pattern: Annotated[str, typer.Argument(help="A shell pattern.")] = "*", as_json: Json = False, quiet: Quiet = False
) -> None:
    """What is in the cache, and examples of what can be asked for."""
    from zoo.listing import list_models

    talk = Talk(as_json=as_json, quiet=quiet)
    entries = list_models(pattern)
    rows = [("name", "from", "measured ms", "size", "folder")]
    for entry in entries:
        size = size_text(entry.bytes) if entry.bytes is not None else "-"
        rows.append((entry.name, entry.source, ms_text(entry.measured_ms), size, str(entry.folder)))
    talk.data([{**vars(entry), "folder": str(entry.folder)} for entry in entries], columns(rows) if entries else [])
    if not entries:
        talk.say(f"nothing matches {pattern!r}; `zoo list` shows all")


def info_command(name: Name, as_json: Json = False, quiet: Quiet = False) -> None:
    """The card of a package."""
    from zoo.card import card_document
    from zoo.catalogue import card_of

    packaged = card_of(name)
    card = packaged.card
    rows = [("file", "precision", "size", "predicted ms", "measured ms", "device", "threads", "smallest cosine")]
    for report in card.reports:
        measured_ms = report.measured.median_ms if report.measured else None
        cosine = min(output.min_cosine for output in report.comparison.outputs)
        times = (ms_text(report.predicted_ms), ms_text(measured_ms), report.device, str(report.threads))
        rows.append((report.path.as_posix(), report.target.precision, size_text(report.bytes), *times, f"{cosine:.7f}"))
    facts = [
        ("name", card.name),
        ("folder", str(packaged.folder)),
        ("input", f"{card.preprocess.size_px[0]}x{card.preprocess.size_px[1]} px RGB"),
        ("supernet", f"{card.recipe.supernet}, {card.recipe.evaluated} networks scored, seed {card.recipe.seed}"),
        ("images", f"{card.images.count} unlabelled"),
        ("license", card.license),
        ("training data", "; ".join(f"{key}: {value}" for key, value in card.recipe.supernet_data.items())),
    ]
    Talk(as_json=as_json, quiet=quiet).data(card_document(card), [*columns(facts), "", *columns(rows)])


def get_command(
    name: Name,
    images: Images = None,
    to: Annotated[Path | None, typer.Option("--to", help="Copy the package into this folder.")] = None,
    supernet: Annotated[str | None, typer.Option(help="Name or folder of the supernet to search.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Replay the package's golden tensors.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a package at --to.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The package of that name, made where it is not in the cache."""
    from zoo.card import CONFIG
    from zoo.catalogue import locate
    from zoo.folders import check_free, staged
    from zoo.package import load_package

    talk = Talk(as_json=as_json, quiet=quiet)
    if to is not None:
        check_free(to, mark=CONFIG, overwrite=overwrite)
    with talk.progress() as progress:
        folder = locate(name, images=images, supernet=supernet, progress=progress, say=talk.say)
    model = load_package(folder, verify=verify)
    if to is not None:
        with staged(to, mark=CONFIG, overwrite=overwrite) as draft:
            shutil.copytree(folder, draft, dirs_exist_ok=True)
        folder = to
    talk.data({"name": model.card.name, "path": str(folder)}, [str(folder)])
    talk.next(f"zoo info {folder}", f"python -c \"import zoo; print(zoo.get('{folder}'))\"")


def env_command(as_json: Json = False, quiet: Quiet = False) -> None:
    """Versions, processor and folders, to paste into a report."""
    from zoo.environment import environment

    facts = environment()
    lines = columns([(key, "-" if value is None else str(value)) for key, value in facts.items()])
    Talk(as_json=as_json, quiet=quiet).data(facts, lines)
