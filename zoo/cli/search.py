"""``zoo search`` and ``zoo pretrain``."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict, cast

import typer

from search.first import is_first
from search.types import Task
from zoo.cli.console import Json, Quiet, Talk, columns, leaves, ms_text, size_text
from zoo.errors import BadRequest
from zoo.names import parse_amount, parse_budget, parse_bytes, parse_size, square_size

if TYPE_CHECKING:
    from zoo.make.pretrain import Changes
    from zoo.make.request import Limits
    from zoo.make.search import MadeEach
    from zoo.types import ModelCard, Progress, Say

Images = Annotated[Path, typer.Option("--images", help="A folder of images, any nesting; no labels are needed.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="The folder to make.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result at --out.")]


class Precision(StrEnum):
    """What networks compute in."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


class Caching(StrEnum):
    """Where images are kept that are trained on: in memory, in a file, or decoded anew in each step."""

    AUTO = "auto"
    RAM = "ram"
    DISK = "disk"
    NONE = "none"


class _Options(TypedDict):
    """What both kinds of search take."""

    out: Path
    task: Task
    supernet: str
    resolution_px: int | None
    limits: Limits
    classes: int | None
    threads: int | None
    seed: int
    overwrite: bool
    progress: Progress
    say: Say


def search_command(
    images: Images,
    budget: Annotated[list[str], typer.Option(help="3ms, 20mmacs or 1mb; again for every --device.")],
    out: Out,
    task: Annotated[Task, typer.Option(help="What the network is for.")] = Task.CLS,
    device: Annotated[
        list[str] | None, typer.Option(help="this, or what `zoo devices list` shows; again for more devices.")
    ] = None,
    supernet: Annotated[str, typer.Option(help="Name or folder of the supernet to search.")] = "mobile-mocov2",
    resolution: Annotated[str | None, typer.Option(help="The input in pixels, e.g. 224.")] = None,
    classes: Annotated[int | None, typer.Option(help="Of a detector's or a segmenter's head, 20.")] = None,
    max_params: Annotated[str | None, typer.Option(help="At most so many parameters, e.g. 500k.")] = None,
    max_macs: Annotated[str | None, typer.Option(help="At most so many multiply-accumulates, e.g. 20m.")] = None,
    max_memory: Annotated[str | None, typer.Option(help="At most so many bytes at once, e.g. 2mb.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the runtime on this machine.")] = None,
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
    size_px = None if resolution is None else square_size(parse_size(resolution))
    if len(budgets) not in (1, len(devices)):
        raise BadRequest(f"{len(budgets)} budgets for {len(devices)} device(s); give one for all, or one for each")
    from zoo.make.request import Limits
    from zoo.make.search import search, search_each
    from zoo.package.card import card_document

    talk = Talk(as_json=as_json, quiet=quiet)
    limits = Limits(params=amounts[0], macs=amounts[1], memory_bytes=amounts[2])
    with talk.progress() as progress:
        options: _Options = {
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
            each = search_each(images, devices=devices, budgets=budgets, **options)
        else:
            made = search(images, device=devices[0], budget=budgets[0], **options)
    if len(devices) > 1:
        _show_each(each, talk)
        return
    talk.data({"path": str(made.path), "card": card_document(made.card)}, _summary(made.path, made.card))
    talk.next(f"zoo info {out}", f"python -c \"import zoo; print(zoo.get('{out}', verify=True))\"")


def pretrain_command(
    out: Out,
    images: Annotated[
        Path | None,
        typer.Option(help="A folder of images or of tar shards, a .txt with a path a line, or hf://org/name."),
    ] = None,
    cache: Annotated[
        Caching, typer.Option(help="Where images are kept; auto: the first of them with space.")
    ] = Caching.AUTO,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that read images ahead, for each device.")
    ] = None,
    net: Annotated[str | None, typer.Option(help="The family of networks to train: mobile unless --from says.")] = None,
    objective: Annotated[
        str | None, typer.Option(help="mocov2, densecl (for det and seg), ressl, byol or simclr.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Name or folder of a supernet to go on from, on these images.")
    ] = None,
    gaia: Annotated[
        Path | None, typer.Option("--import-gaia", help="Train nothing: read a released checkpoint of DATA (GAIA-ssl).")
    ] = None,
    architecture: Annotated[
        Path | None, typer.Option(help="The genotype that `zoo darts` wrote, for --net cell: train that alone.")
    ] = None,
    cells: Annotated[int, typer.Option(help="How many of its cells are stacked.")] = 8,
    channels: Annotated[int, typer.Option(help="Channels of the first one.")] = 16,
    epochs: Annotated[float | None, typer.Option(help="Passes over the images.")] = None,
    max_minutes: Annotated[
        float | None, typer.Option(help="In place of --epochs: as many as this time allows, with a complete schedule.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=2, help="Images a step.")] = None,
    accumulate: Annotated[
        int | None, typer.Option(min=1, help="Parts that a batch is taken in; more need less memory.")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any field of the recipe, e.g. queue=4096; again for more.")
    ] = None,
    recipe_file: Annotated[
        Path | None, typer.Option("--recipe", help="YAML or JSON with fields, e.g. the card.json of another supernet.")
    ] = None,
    precision: Annotated[Precision | None, typer.Option(help="auto: bf16 where the hardware is fast at it.")] = None,
    random_subnets: Annotated[
        int | None, typer.Option(min=0, help="Networks a step besides the largest and the smallest.")
    ] = None,
    slow_start: Annotated[
        float | None, typer.Option(help="Fraction of the steps in which the largest network is trained alone.")
    ] = None,
    distill: Annotated[
        float | None, typer.Option(help="Weight of the other networks' distillation from the largest.")
    ] = None,
    loss_weights: Annotated[
        tuple[float, float, float] | None,
        typer.Option(help="Of the largest, the smallest and each random network's loss, relative to each other."),
    ] = None,
    norm_groups: Annotated[
        int | None, typer.Option(min=1, help="Groups of a batch that are normalized apart, as on several devices.")
    ] = None,
    devices: Annotated[
        int | None,
        typer.Option(min=1, help="GPUs (or shares of the processor's cores) of a machine that share the work."),
    ] = None,
    nodes: Annotated[
        int | None, typer.Option(min=1, help="Machines that share it; torchrun and SLURM say both by themselves.")
    ] = None,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Take 20 steps, tell memory, images/s and hours, and keep nothing.")
    ] = False,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    resolution: Annotated[int | None, typer.Option(min=8, help="Side of the finished network's input.")] = None,
    terms: Annotated[str, typer.Option(help="The terms on which the images may be used, for the card.")] = "not stated",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a supernet, or the one network of an --architecture, on unlabelled images."""
    if gaia is not None:
        _import_gaia(gaia, out, objective or "mocov2", overwrite, Talk(as_json=as_json, quiet=quiet))
        return
    if images is None:
        raise BadRequest("--images is missing; name a folder of images to train on")
    if epochs is not None and max_minutes is not None:
        raise BadRequest("--epochs and --max-minutes both say how long to train; give one of them")
    from zoo.make.darts import keep_origin, read_architecture
    from zoo.make.dry_run import dry_run
    from zoo.make.pretrain import has_checkpoint, recipe_of, train
    from zoo.make.settings import read_settings
    from zoo.supernets import read_supernet

    talk = Talk(as_json=as_json, quiet=quiet)
    supernet = None if start is None else read_supernet(start).supernet
    chosen = None
    if architecture is not None:
        chosen = read_architecture(
            architecture, net=net or "mobile", cells=cells, channels=channels, resolution_px=resolution
        )
    given = {
        "lr": lr,
        "precision": precision and precision.value,
        "accumulate": accumulate,
        "norm_groups": norm_groups,
        "random_subnets": random_subnets,
        "slow_start": slow_start,
        "distill": distill,
        "loss_weights": loss_weights,
    }
    recipe = recipe_of(
        net=net,
        objective=objective,
        epochs=epochs,
        batch=batch,
        seed=seed,
        resolution_px=resolution,
        architecture=chosen,
        start=None if supernet is None else supernet.card,
        settings=read_settings(recipe_file, settings or ()),
        changes=cast("Changes", {name: value for name, value in given.items() if value is not None}),
    )
    if dry:
        with talk.progress() as progress:
            found = dry_run(recipe, images, cache=cache.value, workers=workers or 1, progress=progress)
        talk.data(asdict(found), [found.told()])
        return
    leaves(lambda: f"{out} keeps the run to its last checkpoint; go on with --resume" if has_checkpoint(out) else None)
    with talk.progress() as progress:
        made = train(
            recipe,
            images,
            out,
            terms=terms,
            start=supernet,
            max_minutes=max_minutes,
            devices=devices,
            nodes=nodes,
            checkpoint_steps=checkpoint_every,
            cache=cache.value,
            workers=workers,
            resume=resume,
            overwrite=overwrite,
            progress=progress,
            say=talk.say,
        )
    if architecture is not None and is_first():
        keep_origin(made, architecture, out)
    about = made.card
    lines = [f"{out}  {about.name}: {about.training['steps']} steps in {about.training['seconds']} s"]
    talk.data({"path": str(out), "name": about.name, "training": dict(about.training)}, lines)
    talk.next(f"zoo search --images {images} --supernet {out} --budget 1ms -o my-model")


def _import_gaia(checkpoint: Path, out: Path, objective: str, overwrite: bool, talk: Talk) -> None:
    from zoo.make.pretrain import import_gaia

    about = import_gaia(checkpoint, out, objective=objective, overwrite=overwrite).card
    lines = [f"{out}  {about.name}: {about.net} from {checkpoint.name}"]
    talk.data({"path": str(out), "name": about.name, "training": dict(about.training)}, lines)
    talk.next(f"zoo pretrain --from {out} --images photos --max-minutes 60 -o my-supernet")


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
