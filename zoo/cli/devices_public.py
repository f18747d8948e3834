"""``zoo devices fit-public``: cost models of devices from published times of well-known networks."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.console import Json, Quiet, Talk
from zoo.cli.devices_fit import Overwrite

if TYPE_CHECKING:
    from hardware_profiles.types import CostModel, Validation


class Library(StrEnum):
    """What builds the published networks."""

    TORCHVISION = "torchvision"
    TIMM = "timm"


def fit_public_command(
    file: Annotated[Path, typer.Argument(help="CSV: qai_hub_models.csv, or one of timm's results.")],
    models: Annotated[Library, typer.Option(help="What builds the networks.")],
    device: Annotated[str | None, typer.Option(help="One of the file's devices, e.g. galaxy-s24 or rtx-5090.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Each device that is predicted well enough.")] = False,
    batch: Annotated[int, typer.Option(min=1, help="Images of one pass, where larger batches were timed.")] = 1,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The folder to keep the cost models in.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """What a device takes for each unit of work, fitted to whole networks: it prices any block at any size.

    Each model is left out in turn and predicted from the others, which says how good the fit is.
    """
    from hardware_profiles.errors import BadTimes
    from hardware_profiles.tables.find import keep_table, table_name
    from zoo.devices.public import fit_published, good_enough, read_published
    from zoo.errors import OutputExists
    from zoo.home import own_tables

    if (device is None) != every:
        raise typer.BadParameter("give the id of one device, or --all", param_hint="--device")
    talk, folder = Talk(as_json=as_json, quiet=quiet), out or own_tables()
    published = read_published(file)
    ids = [device] if device is not None else sorted({one.id for one in published})
    counts: dict[Any, Any] = {}
    kept: list[tuple[Path, CostModel]] = []
    for one in ids:
        made_by = f"zoo devices fit-public {file.name} --models {models.value} --device {one}" + (
            f" --batch {batch}" if batch > 1 else ""
        )
        try:
            with talk.progress() as progress:
                model, left_out = fit_published(
                    published, models.value, one, batch=batch, made_by=made_by, progress=progress, counts=counts
                )
        except BadTimes as error:
            if not every:
                raise
            talk.say(f"{one}: {error}")
            continue
        for rule, count in sorted(left_out.items()):
            talk.say(f"{one}: {count} rows left out: {rule}")
        if every and not good_enough(model):
            talk.say(f"{one}: not kept, {_quality(model.validation)}; --device {one} keeps it all the same")
            continue
        path = folder / table_name(model)
        if path.exists() and not overwrite:
            raise OutputExists(f"{path} exists; choose another --out, or give --overwrite to replace it")
        kept.append((keep_table(model, folder), model))
        talk.say(f"{path}  {_quality(model.validation)}; MobileNet-like: {_quality(model.mobile_validation)}")
    value = [
        {
            "path": str(path),
            "device": asdict(model.device),
            "validation": model.validation and asdict(model.validation),
            "mobile_validation": model.mobile_validation and asdict(model.mobile_validation),
        }
        for path, model in kept
    ]
    talk.data(value, [str(path) for path, _ in kept])
    talk.next(*(f"zoo devices show {model.device.id} --net mobile-photo --resolution 224" for _, model in kept[:1]))


def _quality(figures: Validation | None) -> str:
    if figures is None:
        return "none"
    ranking = f"Kendall tau {figures.kendall_tau:.2f}, {figures.networks} networks"
    return f"median error {figures.median_percent:.1f} %, {ranking}"
