"""``zoo evaluate``, ``zoo predict`` and ``zoo study``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from zoo.cli.console import Json, Quiet, Talk, columns, leaves

if TYPE_CHECKING:
    from zoo.heads.predictions import Prediction
    from zoo.use.evaluate import Accuracy, Quality

# Names of ``search.study.workers.ENGINES``, whose import takes a second; a test compares them.
Engine = Literal["local", "ray"]


def evaluate_command(
    what: Annotated[str, typer.Argument(help="Name or folder of a supernet, or of a package.")],
    data: Annotated[Path | None, typer.Option(help="Labelled pictures, to judge a whole model by.")] = None,
    artefact: Annotated[str, typer.Option(help="Of a whole model: torch, onnx, fp16 or int8.")] = "torch",
    skip: Annotated[bool, typer.Option("--skip", help="With --data: leave faulty pictures out.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="With --data: write the figures into the card.")] = False,
    train: Annotated[
        Path | None, typer.Option(help="A folder with one sub-folder a class, for classifiers of features to know.")
    ] = None,
    test: Annotated[Path | None, typer.Option(help="Another one, whose images they classify.")] = None,
    subnets: Annotated[
        int, typer.Option(min=0, help="Random networks of a supernet, besides its largest and its smallest.")
    ] = 2,
    architecture: Annotated[
        list[str] | None, typer.Option(help="In place of those: a network's choices, as `zoo search` prints them.")
    ] = None,
    k: Annotated[int | None, typer.Option(min=1, help="Neighbors that vote; default: 200.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many images of each folder.")] = None,
    untrained: Annotated[bool, typer.Option("--untrained", help="Judge each with fresh weights, too.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge a whole model on labelled pictures (--data), or frozen features by k-NN and a linear classifier."""
    talk = Talk(as_json=as_json, quiet=quiet)
    if data is not None:
        if train is not None or test is not None:
            raise typer.BadParameter("--data judges a whole model, --train and --test judge features; give one kind")
        _whole(what, data, artefact, skip, keep, talk)
        return
    if train is None or test is None:
        raise typer.BadParameter("give --data for a whole model, or --train and --test for features")
    from zoo.use.evaluate import evaluate

    with talk.progress() as progress:
        found = evaluate(
            what,
            train=train,
            test=test,
            subnets=subnets,
            architectures=architecture or (),
            k=k,
            limit=limit,
            with_untrained=untrained,
            seed=seed,
            progress=progress,
            say=talk.say,
        )
    images = f"{found.train} training and {found.test} test images of {found.classes} classes"
    error = f"standard error at most {100 * found.standard_error:.1f} points"
    title = f"{found.name} at {found.resolution_px} px; {images}; {error}"
    heading = ("network", "parameters", f"{found.k}-NN", "linear", *(("untrained", "linear") if untrained else ()))
    document = {**asdict(found), "standard_error": found.standard_error, "seed": seed}
    talk.data(document, [title, *columns([heading, *map(_row, found.networks)])])


def _whole(what: str, data: Path, artefact: str, skip: bool, keep: bool, talk: Talk) -> None:
    from zoo.use.score import score

    with talk.progress() as progress:
        found = score(what, data=data, artefact=artefact, skip=skip, keep=keep, progress=progress, say=talk.say)
    known = {name: value if value == value else None for name, value in found.per_class.items()}
    lines = [
        f"{found.name} ({found.artefact}) on {found.images} images of {found.data}, {found.skipped} skipped",
        *columns([(name, f"{100 * value:.1f} %") for name, value in found.values.items()]),
        "",
        *columns([(name, "-" if value is None else f"{100 * value:.1f} %") for name, value in known.items()]),
    ]
    talk.data({**asdict(found), "per_class": known}, lines)


def _row(one: Quality) -> tuple[str, ...]:
    fresh = () if one.untrained is None else _percents(one.untrained)
    return (one.network, f"{one.params / 1e6:.2f} M", *_percents(one.trained), *fresh)


def _percents(accuracy: Accuracy) -> tuple[str, str]:
    return f"{100 * accuracy.knn:.1f} %", f"{100 * accuracy.linear:.1f} %"


_SHOWN = 5  # classes of a mask, in one line


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


def study_command(
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The study's folder; one that exists is gone on with.")
    ] = None,
    variants: Annotated[
        str, typer.Option(help="How many, half of either family, or names with commas between.")
    ] = "24",
    images: Annotated[Path | None, typer.Option(help="Unlabelled images, which every network is trained on.")] = None,
    downstream: Annotated[
        list[Path] | None, typer.Option(help="A labelled set: train and test, a sub-folder a class; again for more.")
    ] = None,
    source: Annotated[Path | None, typer.Option(help="A labelled set of images like the unlabelled ones.")] = None,
    searched: Annotated[
        list[Path] | None, typer.Option(help="A package whose network is trained beside them; again for more.")
    ] = None,
    objective: Annotated[str, typer.Option(help="simclr, mocov2, byol, ressl or densecl.")] = "simclr",
    images_seen: Annotated[int, typer.Option(min=1, help="By each network, copies counted.")] = 64_000,
    batch: Annotated[int, typer.Option(min=2, help="Images a step.")] = 64,
    resolution: Annotated[int, typer.Option(min=8, help="Side of the networks' input.")] = 32,
    width_divisor: Annotated[int, typer.Option(help="Of the variants' channels: 1, 2, 4 or 8.")] = 1,
    device: Annotated[str, typer.Option(help="Its cost model predicts milliseconds.")] = "galaxy-s24",
    limit: Annotated[int | None, typer.Option(min=2, help="Labelled images of each folder, at most.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random, and of the spread.")] = 0,
    engine: Annotated[
        Engine, typer.Option(help="local: one job after another; ray: a cluster, or all cores.")
    ] = "local",
    workers: Annotated[int | None, typer.Option(min=1, help="Jobs at a time, with --engine ray.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="That each job computes with.")] = 1,
    report: Annotated[
        Path | None, typer.Option(help="Train nothing: write plots and a page from a study's folder or its table.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train ResNets and MobileNets of many shapes without labels, and compare them on labelled sets."""
    talk = Talk(as_json=as_json, quiet=quiet)
    if report is not None:
        from zoo.use.study_report import write_report

        page = write_report(report, out)
        talk.data({"path": str(page)}, [page.read_text("utf-8").rstrip(), "", str(page)])
        return
    if out is None or images is None or not downstream:
        raise typer.BadParameter("a study takes --images, --downstream and --out; or --report alone")
    from search.study.plan import TABLE, Protocol
    from zoo.use.study import missing, study

    leaves(lambda: f"{out} keeps all that is done; the same command goes on")
    protocol = Protocol(
        images=str(images.resolve()),
        images_seen=images_seen,
        objective=objective,
        batch=batch,
        resolution_px=resolution,
        width_divisor=width_divisor,
        device=device,
        limit=limit,
        seed=seed,
    )
    with talk.progress() as progress:
        rows = study(
            out,
            protocol=protocol,
            variants=variants,
            searched=searched or (),
            downstream=downstream,
            source=source,
            engine=engine,
            workers=workers,
            threads=threads,
            progress=progress,
            say=talk.say,
        )
    lines = list(missing(rows))
    answered = sum(not row.reason for row in rows)
    talk.data([asdict(row) for row in rows], [f"{out / TABLE}  {answered} of {len(rows)} answers", *lines])
    talk.next(f"zoo study --report {out}")
    if lines:
        raise typer.Exit(1)
