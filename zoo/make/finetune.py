"""Fine-tune: a backbone and labelled pictures become a whole model, packaged like any other."""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

import copy
import json
import math
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from export.artefact import export
from export.formats.onnx_file import metadata_props
from export.targets import target_at
from export.types import ExportReport, Preprocess
from hardware_profiles.runners import OnnxRunner
from search.finetune.losses import box_loss, class_loss, mask_loss
from search.images.read import open_picture
from search.labels.arrays import Targets, Views
from search.labels.read import Split
from search.nets import Backbone
from search.types import Task
from zoo.devices.tables import this_device
from zoo.errors import BadRequest, MissingExtra
from zoo.heads.features import feature_info
from zoo.heads.network import KINDS, Network, make_network
from zoo.heads.predictions import by_onnx, by_torch, input_of, judge
from zoo.home import commit, zoo_version
from zoo.package.card import CONFIG
from zoo.package.folder import Attachment, write_package
from zoo.package.staging import check_free
from zoo.types import Evaluation, HeadCard, ModelCard, Progress, Say, stage

CURVE, JOB = "curve.json", "job.json"
_COMPARED = 64  # as ``confirm`` compares


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train.

    Args:
        epochs: at most.
        batch: images a step.
        rate: of the head.
        first_layers: the backbone's first layers learn at this share of the rate, its last ones at all of it.
        patience: epochs without a better score before it stops.
        max_minutes: the schedule ends then; None for no limit.
        seed: of everything random.
    """

    epochs: int = 100
    batch: int = 8
    rate: float = 1e-3
    patience: int = 30
    max_minutes: float | None = None
    seed: int = 0
    first_layers: float = 0.1

    def __post_init__(self) -> None:
        """Refuse numbers that cannot train."""
        for name, least in (("epochs", 1), ("batch", 2), ("patience", 1)):
            if (value := getattr(self, name)) < least:
                raise BadRequest(f"{name} is {value}; it is at least {least}")
        for name, number in (
            ("rate", self.rate),
            ("first_layers", self.first_layers),
            ("max_minutes", self.max_minutes),
        ):
            if number is not None and not (math.isfinite(number) and number > 0):
                raise BadRequest(f"{name} is {number}; it is a number above 0")


@dataclass(frozen=True, kw_only=True)
class Finetuned:
    """A package with a whole model, the validation scores of torch and of its ONNX file, and the training's length."""

    path: Path
    card: ModelCard
    scores: Mapping[str, float]
    onnx_scores: Mapping[str, float]
    per_class: Mapping[str, float]
    epochs: int
    minutes: float
    train_images: int
    val_images: int


def finetune_backbone(
    backbone: Backbone,
    card: ModelCard,
    split: Split,
    out: Path,
    *,
    data: str,
    size_px: int | None = None,
    recipe: Recipe | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress,
    say: Say,
) -> Finetuned:
    """Train ``backbone`` with a new head on labelled pictures; write the package of the best weights.

    Args:
        backbone: stays as it is; a copy is trained.
        card: of the backbone.
        split: of one task.
        out: the package's folder; it appears when everything has succeeded.
        data: what the card calls the data.
        size_px: side of the input; None takes the card's.
        recipe: how to train.
        resume: go on from where an interrupted run with the same settings stopped.
        overwrite: replace an earlier package at ``out``.
        progress: called with (stage, done, all).
        say: receives one line for each thing that happened.

    Raises:
        BadRequest: a size that the net's strides do not divide, or a resumed run with other settings.
        OutputExists: ``out`` is not empty.
        TrainingError: the loss is no number.
        ComparisonFailed: the ONNX file does not compute what torch computes.
    """
    try:
        from search.finetune.loop import Plan, train
    except ModuleNotFoundError as error:
        raise MissingExtra(f"fine-tuning needs {error.name}; install it: pip install 'subnet-zoo[search]'") from None
    recipe = recipe or Recipe()
    check_free(out, mark=CONFIG, overwrite=overwrite)
    task, classes = split.train.task, split.train.classes
    size_px = size_px or card.architecture.resolution_px
    _check_size(backbone, task, size_px)
    head = HeadCard(kind=KINDS[task], task=task, classes=classes)
    how = replace(card.preprocess, size_px=(size_px, size_px), fit="crop" if task is Task.CLS else "letterbox")
    work = out.resolve().with_name(f".{out.name}.finetune")
    job = {"data": data, "size_px": size_px, "head": asdict(head), "train": len(split.train.samples), **asdict(recipe)}
    _open_work(work, job, resume=resume)
    say(f"{len(split.train.samples)} images to train on, {len(split.val.samples)} to judge by, {len(classes)} classes")
    network = make_network(copy.deepcopy(backbone), head, size_px, seed=recipe.seed)
    try:
        trained = train(
            network,
            loss_of,
            Views(split.train, input_of(how)),
            lambda candidate: judge(by_torch(candidate), split.val, how),
            Plan(**asdict(recipe)),
            folder=work,
            resume=resume,
            progress=stage(progress, "train"),
            say=say,
        )
    except KeyboardInterrupt:
        say("interrupted; the same command with --resume goes on after the last whole epoch")
        raise
    score = judge(by_torch(network), split.val, how)
    whole = replace(
        card,
        name=out.name,
        task=task,
        architecture=replace(card.architecture, resolution_px=size_px),
        preprocess=how,
        head=head,
        commit=commit(),
        zoo_version=zoo_version(),
    )
    with tempfile.TemporaryDirectory(prefix="zoo-") as scratch:
        report = _export(network, whole, split, Path(scratch) / "model.onnx")
        with OnnxRunner(report.path, threads=report.threads) as runner:
            onnx_score = judge(by_onnx(runner, report.target), split.val, how)
        curve = Path(scratch) / CURVE
        curve.write_text(json.dumps({"settings": job, "epochs": list(trained.curve)}, indent=1) + "\n", "utf-8")
        about = f"fine-tuned on {len(split.train.samples)} images, judged on {len(split.val.samples)} others"
        whole = replace(
            whole,
            reports=(report,),
            evaluation=(
                *_evaluation(data, score.values, f"{about}, torch"),
                *_evaluation(data, onnx_score.values, f"{about}, onnx fp32"),
            ),
        )
        whole = write_package(
            out,
            card=whole,
            backbone=network.backbone,
            network=network,
            overwrite=overwrite,
            attachments=[Attachment(path=CURVE, source=curve)],
        )
    shutil.rmtree(work, ignore_errors=True)
    return Finetuned(
        path=out,
        card=whole,
        scores=dict(score.values),
        onnx_scores=dict(onnx_score.values),
        per_class=dict(zip(classes, score.per_class, strict=True)),
        epochs=trained.epochs,
        minutes=trained.minutes,
        train_images=len(split.train.samples),
        val_images=len(split.val.samples),
    )


def loss_of(network: nn.Module, x_NCHW: Tensor, targets: Targets) -> Tensor:
    """The training loss of a ``Network`` on a batch."""
    assert isinstance(network, Network)
    found = network.raw(x_NCHW)
    match network.task:
        case Task.CLS:
            return class_loss(found["logits"], targets)
        case Task.SEG:
            return mask_loss(found["logits"], targets)
        case Task.DET:
            points_A3 = network.head.points(*x_NCHW.shape[-2:]).to(x_NCHW.device)  # type: ignore[operator]
            return box_loss(found, points_A3, targets)


def _check_size(backbone: Backbone, task: Task, size_px: int) -> None:
    stride = max(level.stride for level in feature_info(backbone, size_px).levels)
    if task is not Task.CLS and size_px % stride:
        near = max(stride, round(size_px / stride) * stride)
        raise BadRequest(f"{size_px} px is no multiple of the net's stride of {stride} px; take {near} px")


def _open_work(work: Path, job: Mapping[str, object], *, resume: bool) -> None:
    text = json.dumps(job, indent=1, sort_keys=True)
    if resume:
        if not (work / JOB).is_file():
            raise BadRequest(f"{work} holds no interrupted run; leave --resume out")
        if (work / JOB).read_text("utf-8") != text:
            raise BadRequest(f"{work} holds a run with other settings or images; give the same, or leave --resume out")
        return
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    (work / JOB).write_text(text, "utf-8")


def _export(network: Network, card: ModelCard, split: Split, path: Path) -> ExportReport:
    """The ONNX file, compared with torch on validation pictures and timed."""
    device = this_device()
    choices = json.dumps(card.architecture.choices)
    assert card.head is not None
    return export(
        network,
        _pictures(split, card.preprocess),
        target=target_at("edge", card.architecture.resolution_px),
        path=path,
        metadata=metadata_props(
            card.preprocess,
            name=card.name,
            net=card.architecture.net,
            architecture=choices,
            classes=card.head.classes,
        ),
        predicted_ms=None,
        device=device.id,
        threads=device.threads,
    )


def _pictures(split: Split, how: Preprocess) -> Tensor:
    reader = input_of(how)
    rows = []
    for one in split.val.samples[:_COMPARED]:
        with open_picture(one.path) as image:
            rows.append(reader.read(image)[0])
    return torch.stack(rows)


def _evaluation(data: str, values: Mapping[str, float], protocol: str) -> list[Evaluation]:
    return [
        Evaluation(data=data, metric=name, value=round(value, 5), protocol=protocol) for name, value in values.items()
    ]
