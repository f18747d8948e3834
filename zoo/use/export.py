"""Export: a network as everything that one kind of device gets, in a package of its own.

The folder of real images does three jobs: one half is compared (torch against each artefact), the other half gives
int8 its ranges, and both show whether the network was made for images like these.
"""

# ruff: noqa: N806 - a tensor's name ends in its shape.

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from export.delivery import Delivered, deliver
from export.documents import to_document
from export.errors import ComparisonFailed, UnsupportedTarget
from export.formats.onnx_file import metadata_props
from export.page import render_page
from export.targets import DELIVERIES, Delivery, check_target, target_at
from export.types import ExportReport, ExportTarget
from export.verify.drift import MOST, MOST_TRAINED
from hardware_profiles.types import Precision
from search.images.read import read_images
from search.images.statistics import load_statistics
from search.images.synthesize import dead_leaves
from search.images.views import center
from zoo.checks import Threads
from zoo.devices.tables import this_device
from zoo.errors import BadRequest, OutputExists
from zoo.heads.attach import Head, deployable
from zoo.heads.network import deployed
from zoo.make.images import GENERATED as GENERATED_BY_US
from zoo.make.images import read_photos
from zoo.package.card import CONFIG
from zoo.package.folder import Attachment, write_package
from zoo.package.staging import check_free
from zoo.progress import Watch, watching
from zoo.report.sections import write_beside
from zoo.supernets import supernet_folder
from zoo.types import ModelCard, Progress, Say, stage, tell
from zoo.use.resolve import Exportable, find_exportable

PAGE, REPORT = "EXPORT.md", "export.json"
GENERATED = "compared on generated images"
MIN_IMAGES = 32  # fewer say nothing about a share of 95 %
# Images: an agreement of 95 % within 1 %.
_COMPARED, _CALIBRATED, _GENERATED = 500, 500, 64


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A package with the artefacts that passed, and what was delivered, with what was refused."""

    path: Path
    card: ModelCard
    delivered: Delivered


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to change about a target; None keeps the target's own.

    Args:
        precisions: of the artefacts beside fp32.
        opset: version of the ONNX operators.
        batch: images in a call; 0 for any.
        resolution_px: side of the input, in pixels; the network's statistics are taken anew at another one.
        simplify: let onnxslim remove what the graphs do not need.
        uint8_input: the graph takes pixels and normalizes them itself.
        nms: the graph of a detector selects its boxes itself.
        min_agreement: share of images on which int8 must see what torch sees.
    """

    precisions: tuple[Precision, ...] | None = None
    opset: int | None = None
    batch: int | None = None
    resolution_px: int | None = None
    simplify: bool = True
    uint8_input: bool = False
    nms: bool = False
    min_agreement: float | None = None


def export_package(
    source: str | Path,
    *,
    target: str,
    calibration: str | Path | None = None,
    out: str | Path,
    options: Options | None = None,
    architecture: str | None = None,
    head: Head | None = None,
    classes: Sequence[str] = (),
    threads: Threads | None = None,
    overwrite: bool = False,
    progress: Watch = "auto",
    say: Say = tell,
) -> Exported:
    """Make every artefact that a target gets, compare and time each, and package those that passed.

    Args:
        source: a package's folder, a name, or a checkpoint: the folder or name of a supernet.
        target: ``point``, ``edge`` or ``cloud``.
        calibration: a folder of real, unlabelled images like those the network will see; 1,000 or more are best.
            Without one, artefacts are compared on generated images, and int8 is left out; of a name that was searched
            on generated images, int8 is made with ranges of such images, and kept where it passes.
        out: the new package's folder.
        options: what to change about the target.
        architecture: of a checkpoint: ``largest``, ``smallest``, or its choices as a JSON list.
        head: what was trained on a copy of the network (``Model.with_head``): the artefacts are then the whole of it,
            with outputs ``logits``, ``boxes`` and ``scores``, or ``masks``. ``model.safetensors`` stays the backbone's.
        classes: names of the head's classes, for the artefacts' metadata.
        threads: of the runtime on this machine; None takes 1.
        overwrite: replace an earlier package at ``out``.
        progress: ``auto`` (bars or lines, as fits), None, or a function called with (stage, done, all).
        say: receives one line for each thing that happened.

    Returns:
        What was made. ``delivered.refused`` is not empty where an artefact failed: it is kept under ``failed/``.

    Raises:
        UnsupportedTarget: an option that cannot be made.
        UnknownName: nothing is called ``source``.
        NotEnoughImages: fewer than 32 images can be read.
        ComparisonFailed: not even the fp32 artefact computes what torch computes.
        OutputExists: ``out`` is not empty.
    """
    progress = watching(progress)
    options, out = options or Options(), Path(out)
    aim = _aim(target, options, options.resolution_px or 1)
    check_free(out, mark=CONFIG, overwrite=overwrite)
    ready = find_exportable(source, architecture=architecture, say=say, progress=progress)
    px = options.resolution_px or ready.card.architecture.resolution_px
    aim = _aim(target, options, px)
    how = ready.card.preprocess
    size_px = how.size_px if options.resolution_px is None else (px, px)
    aim = replace(aim, input_nchw=(*aim.input_nchw[:2], *size_px))
    generated = _like_training(ready.card, size_px) if calibration is None else None
    has_none = calibration is None and generated is None
    if has_none and "int8" in (options.precisions or ()):
        raise BadRequest("int8 needs a folder of real images for its ranges; give one with --calibration")
    if has_none and (not ready.is_calibrated or px != ready.card.architecture.resolution_px):
        raise BadRequest(
            f"the network's statistics are to be measured at {px} px, for which images are needed; give a folder of"
            " them with --calibration"
        )
    if calibration is not None:
        pixels = _read(Path(calibration), size_px, progress, say, letterbox=how.fit == "letterbox")
    elif generated is not None:
        pixels = generated
    else:
        pixels = dead_leaves(_GENERATED, max(size_px))[..., : size_px[0], : size_px[1]]
    if ready.network is not None and head is not None:
        raise UnsupportedTarget(f"{ready.card.name} has a head already; leave the other one out")
    if (head is not None or ready.network is not None) and px != ready.card.architecture.resolution_px:
        raise UnsupportedTarget(f"the head was trained at another resolution than {px} px; leave --resolution out")
    ready = ready.at(px, pixels)
    x_NCHW = center(pixels, size_px, how.mean, how.std).contiguous()
    module: nn.Module | None = ready.network
    if module is None:
        module = deployed(ready.backbone, ready.card.task) if head is None else deployable(head)
    elif ready.card.head is not None:
        classes = classes or ready.card.head.classes
    with tempfile.TemporaryDirectory(prefix="zoo-") as scratch:
        work = _Work(
            module=module,
            is_bare=head is None and ready.network is None,
            images=x_NCHW,
            classes=tuple(classes),
            scratch=Path(scratch),
            threads=threads,
            calibrates=calibration is not None or generated is not None,
        )
        delivery, note = _possible(DELIVERIES[target], options, calibration is not None, work.calibrates)
        delivered = _delivered(ready, work, aim, delivery, options, say)
        if note is not None:
            if work.calibrates and "int8" in delivery.precisions:
                delivered, note = _without_failed_int8(delivered, note)
            say(note)
            reports = tuple(replace(one, notes=(*one.notes, GENERATED)) for one in delivered.reports)
            delivered = replace(delivered, reports=reports, notes=(*delivered.notes, note))
        if not delivered.reports:
            raise ComparisonFailed(_kept(delivered, out))
        card = replace(ready.card, reports=delivered.reports)
        attachments = [*_attachments(delivered, Path(scratch), card.name), *ready.history]
        card = write_package(
            out, card=card, backbone=ready.backbone, network=ready.network, overwrite=overwrite, attachments=attachments
        )
    write_beside(out, say=say)
    return Exported(path=out, card=card, delivered=delivered)


def _like_training(card: ModelCard, size_px: tuple[int, int]) -> Tensor | None:
    """Images with the statistics of the supernet's training images, for a network that never saw others."""
    folder = supernet_folder(card.recipe.supernet)
    if folder is None or not card.images.fingerprint.startswith(GENERATED_BY_US) or load_statistics(folder) is None:
        return None
    height_px, width_px = size_px
    return read_photos(None, size_px=height_px if height_px == width_px else size_px, beside=folder).pixels


def _without_failed_int8(delivered: Delivered, note: str) -> tuple[Delivered, str]:
    """Nobody gave images for int8, so that it is no failure where generated ones do not do; and what to say."""
    failed = tuple(one for one in delivered.failed if one.target.precision != "int8")
    refused = tuple(line for line in delivered.refused if not line.startswith(("int8:", "model_int8.")))
    if any(one.target.precision == "int8" for one in delivered.reports):
        return delivered, f"{note}; int8 got its ranges from them, and does better with a folder of real ones"
    return replace(delivered, failed=failed, refused=refused), f"{note}; int8 did not pass with their ranges"


def _possible(delivery: Delivery, options: Options, has_images: bool, calibrates: bool) -> tuple[Delivery, str | None]:
    """What of ``delivery`` can be made with or without images, and a sentence on what is left out."""
    if options.precisions is not None:
        delivery = replace(delivery, precisions=tuple(dict.fromkeys(("fp32", *options.precisions))))
    if has_images:
        return delivery, None
    note = f"{GENERATED}, for no folder was given with --calibration"
    if calibrates:
        return delivery, note
    if "int8" in delivery.precisions:
        note += "; int8 is left out, which needs a folder of real images for its ranges"
    return replace(delivery, precisions=tuple(one for one in delivery.precisions if one != "int8")), note


def _read(folder: Path, size_px: tuple[int, int], progress: Progress, say: Say, *, letterbox: bool) -> Tensor:
    """Pixels of a folder's images, uint8 [N, 3, H, W]."""
    told = stage(progress, "images")
    limit = _COMPARED + _CALIBRATED
    found = read_images(
        folder,
        size_px=size_px,
        min_images=MIN_IMAGES,
        min_different=2,
        limit=limit,
        progress=told,
        letterbox=letterbox,
    )
    for line in found.left_out():
        say(line)
    return found.pixels


def _aim(name: str, options: Options, resolution_px: int) -> ExportTarget:
    aim = target_at(name, resolution_px)
    batch = options.batch
    if batch is not None:
        aim = replace(aim, dynamic_batch=batch == 0, input_nchw=(batch or 1, *aim.input_nchw[1:]))
    aim = replace(aim, opset=options.opset or aim.opset, uint8_input=options.uint8_input, nms=options.nms)
    check_target(aim)
    return aim


@dataclass(frozen=True, kw_only=True, eq=False)
class _Work:
    """What artefacts are made of, and where."""

    module: nn.Module
    is_bare: bool
    images: Tensor
    classes: tuple[str, ...]
    scratch: Path
    threads: int | None
    calibrates: bool


def _delivered(
    ready: Exportable, work: _Work, aim: ExportTarget, delivery: Delivery, options: Options, say: Say
) -> Delivered:
    card, device = ready.card, this_device(work.threads)
    choices = json.dumps(card.architecture.choices)
    about = metadata_props(
        card.preprocess, name=card.name, net=card.architecture.net, architecture=choices, classes=work.classes
    )
    provenance = {
        "task": str(card.task),
        "license": card.license,
        "supernet": f"{card.recipe.supernet} sha256 {card.recipe.supernet_sha256}",
        "made_by": f"subnet-zoo {card.zoo_version}" + (f", commit {card.commit}" if card.commit else ""),
    }
    return deliver(
        work.module,
        work.images[::2][:_COMPARED],
        target=aim,
        delivery=delivery,
        out=work.scratch,
        name=card.name,
        metadata={**about, **provenance},
        device=device.id,
        threads=device.threads,
        calibration_NCHW=work.images[1::2][:_CALIBRATED] if work.calibrates else None,
        predicted_ms=ready.predicted_ms(device) if work.is_bare and options.batch in (None, 1) else None,
        simplify=options.simplify,
        min_agreement=options.min_agreement,
        most_drift=MOST_TRAINED if card.head is not None and card.head.trained else MOST,
        say=say,
    )


def _attachments(delivered: Delivered, scratch: Path, name: str) -> Sequence[Attachment]:
    """What goes into the package beside the artefacts with a report."""
    page, report = scratch / PAGE, scratch / REPORT
    page.write_text(render_page(delivered, title=f"{name} for {_target_of(delivered)}"), "utf-8", newline="\n")
    document = to_document(replace(delivered, others=tuple(Path(path.name) for path in delivered.others)))
    for entry in (*document["reports"], *document["failed"], *document["engines"]):
        entry["path"] = Path(entry["path"]).name
    report.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", "utf-8", newline="\n")
    listed = [Attachment(path=PAGE, source=page), Attachment(path=REPORT, source=report)]
    for path in delivered.others:
        if path.is_dir():
            listed.append(Attachment(path=path.name, source=path, listed=False))
        else:
            listed.append(Attachment(path=f"engines/{path.name}", source=path))
    failed = [Attachment(path=f"failed/{one.path.name}", source=one.path, listed=False) for one in delivered.failed]
    return [*listed, *failed]


def _target_of(delivered: Delivered) -> str:
    return delivered.reports[0].target.name


def _kept(delivered: Delivered, out: Path) -> ExportReport:
    """The report of the fp32 artefact that failed, its file now beside ``out``."""
    report = delivered.failed[0]
    path = out.with_name(f"{out.name}.failed.onnx")
    if path.exists():
        raise OutputExists(f"{path} is in the way of the artefact that failed; remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(report.path, path)
    return replace(report, path=path)
