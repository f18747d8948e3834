"""``zoo pretrain`` and ``zoo darts``: what trains without labels."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from search.first import is_first
from search.types import Cache, Compute, Logger, Strategy
from zoo.cli.console import Json, Quiet, Talk, Threads, columns, leaves, ms_text
from zoo.cli.search import Images, Out, Overwrite
from zoo.errors import BadRequest
from zoo.names import parse_budget

if TYPE_CHECKING:
    from zoo.make.darts_seed import Seed
    from zoo.make.pretrain import Changes

# Names of ``search.cells.recipe.PRESETS``, whose import takes two seconds; a test compares them.
Preset = Literal["quick", "paper"]


def pretrain_command(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The folder to make; --dry-run makes none.")] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="A folder of images or of tar shards, a .txt with a path a line, or hf://org/name."),
    ] = None,
    cache: Annotated[Cache, typer.Option(help="Where images are kept; auto: the first of them with space.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that read images ahead, for each device.")
    ] = None,
    net: Annotated[str | None, typer.Option(help="The family of networks: resnet-photo unless --from says.")] = None,
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
    lr: Annotated[
        float | None, typer.Option(help="Peak learning rate; by default it grows with the square root of the batch.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any field of the recipe, e.g. queue=4096; again for more.")
    ] = None,
    recipe_file: Annotated[
        Path | None, typer.Option("--recipe", help="YAML or JSON with fields, e.g. the card.json of another supernet.")
    ] = None,
    precision: Annotated[Compute | None, typer.Option(help="auto: bf16 where the hardware is fast at it.")] = None,
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
    teacher: Annotated[
        str | None,
        typer.Option(help="An outside network to learn from, too: timm:NAME, hf:org/name or an ONNX file."),
    ] = None,
    teacher_weight: Annotated[
        float | None, typer.Option(help="Its part of the loss; default: 1, which is all.")
    ] = None,
    validate: Annotated[
        Path | None,
        typer.Option(help="Labelled images, a sub-folder a class: accuracies are told, and choose nothing."),
    ] = None,
    validate_every: Annotated[int, typer.Option(min=1, help="Steps between two looks at them.")] = 500,
    logger: Annotated[Logger, typer.Option(help="Where the numbers go besides metrics.csv.")] = "csv",
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the networks that every step shares: teacher, single network.")
    ] = False,
    checkpoint_activations: Annotated[
        bool, typer.Option("--checkpoint-activations", help="Less memory, about a third more time.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    resolution: Annotated[int | None, typer.Option(min=8, help="Side of the finished network's input.")] = None,
    terms: Annotated[str, typer.Option(help="The terms on which the images may be used, for the card.")] = "not stated",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a supernet, or the one network of an --architecture, on unlabelled images."""
    if out is None and not (dry and gaia is None):
        raise BadRequest("-o is missing; name the folder to make")
    if gaia is not None:
        assert out is not None
        _import_gaia(gaia, out, objective or "mocov2", overwrite, Talk(as_json=as_json, quiet=quiet))
        return
    if images is None:
        raise BadRequest("--images is missing; name a folder of images to train on")
    if epochs is not None and max_minutes is not None:
        raise BadRequest("--epochs and --max-minutes both say how long to train; give one of them")
    from search.running import Running
    from zoo.make.darts import keep_origin, read_architecture
    from zoo.make.dry_run import dry_run
    from zoo.make.pretrain import has_checkpoint, recipe_of, train
    from zoo.make.settings import read_settings
    from zoo.supernets import DEFAULT_NET, read_supernet

    talk = Talk(as_json=as_json, quiet=quiet)
    supernet = None if start is None else read_supernet(start).supernet
    chosen = None
    if architecture is not None:
        chosen = read_architecture(
            architecture, net=net or DEFAULT_NET, cells=cells, channels=channels, resolution_px=resolution
        )
    given = {
        "lr": lr,
        "precision": precision,
        "accumulate": accumulate,
        "norm_groups": norm_groups,
        "random_subnets": random_subnets,
        "slow_start": slow_start,
        "distill": distill,
        "loss_weights": loss_weights,
        "teacher": teacher,
        "teacher_weight": teacher_weight,
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
    if teacher_weight is not None and recipe.teacher is None:
        raise BadRequest(f"--teacher-weight is {teacher_weight:g}, and no teacher is named; name one with --teacher")
    running = Running(
        devices=devices,
        nodes=nodes,
        workers=workers,
        checkpoint_steps=checkpoint_every,
        logger=logger,
        compiled=compiled,
        checkpoint_activations=checkpoint_activations,
        validate=validate,
        validate_steps=validate_every,
    )
    if dry:
        with talk.progress() as progress:
            found = dry_run(recipe, images, cache=cache, running=running, progress=progress)
        talk.data(asdict(found), [found.told()])
        return
    assert out is not None
    leaves(lambda: f"{out} keeps the run to its last checkpoint; go on with --resume" if has_checkpoint(out) else None)
    with talk.progress() as progress:
        made = train(
            recipe,
            images,
            out,
            terms=terms,
            start=supernet,
            max_minutes=max_minutes,
            running=running,
            cache=cache,
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


def darts_command(
    images: Images,
    out: Out,
    seeds: Annotated[int, typer.Option(min=1, help="Independent searches; the best one is chosen without labels.")] = 4,
    preset: Annotated[
        Preset, typer.Option(help="quick: minutes on 2 CPU cores; paper: 50 epochs, for a GPU.")
    ] = "quick",
    strategy: Annotated[Strategy, typer.Option(help="How an edge mixes its operations.")] = "darts",
    device: Annotated[str, typer.Option(help="this, or an id that `zoo devices list` shows.")] = "this",
    budget: Annotated[str | None, typer.Option(help="What the network may take, e.g. 5ms.")] = None,
    cells: Annotated[int | None, typer.Option(help="Depth of the delivered network.")] = None,
    channels: Annotated[int | None, typer.Option(help="Channels of its first cell.")] = None,
    resolution: Annotated[int, typer.Option(min=8, help="Side of its input in pixels.")] = 32,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of the search, in place of the preset's.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    threads: Threads = None,
    terms: Annotated[str, typer.Option(help="The terms on which the images may be used, for the card.")] = "not stated",
    devices: Annotated[
        int | None, typer.Option(min=1, help="GPUs (or shares of the processor's cores) that share each search.")
    ] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="Machines that share it.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search cells for these images without labels (SSNAS); deliver the network trained, compared, timed, packaged."""
    limits = parse_budget(budget) if budget is not None else None  # before the seconds that it takes to import torch
    from search.running import Running
    from zoo.make.darts import PICTURES, darts, holds_run, recipe_of
    from zoo.make.darts_seed import GENOTYPE

    talk = Talk(as_json=as_json, quiet=quiet)
    leaves(lambda: f"{out} keeps the search to its last checkpoint; go on with --resume" if holds_run(out) else None)
    recipe = recipe_of(preset, strategy=strategy, epochs=epochs, seed=seed)
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
            running=Running(devices=devices, nodes=nodes),
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
