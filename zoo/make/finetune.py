"""Fine-tune: a backbone and labelled pictures become a whole model, packaged like any other."""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from export.artefact import export
from export.formats.onnx_file import metadata_props
from export.targets import target_at
from export.types import ExportReport, Preprocess
from hardware_profiles.runners import OnnxRunner
from search.errors import TrainingError
from search.evaluate.scores import Score
from search.finetune.losses import box_loss, class_loss, mask_loss
from search.first import is_first
from search.labels.arrays import Arrays, Targets, decode
from search.labels.read import Split
from search.labels.samples import Samples
from search.labels.views import Views
from search.nets import Backbone
from search.nets.resnet import ResNetBackbone
from search.running import ALONE, Running
from search.types import Task
from zoo.devices.tables import this_device
from zoo.errors import BadRequest, MissingExtra, OutputExists
from zoo.heads.features import feature_info
from zoo.heads.network import KINDS, Network, make_network
from zoo.heads.predictions import Run, by_onnx, by_torch, input_of, judge
from zoo.home import commit, zoo_version
from zoo.package.card import CONFIG
from zoo.package.folder import Attachment, write_package
from zoo.package.history import CURVE
from zoo.package.staging import check_free
from zoo.report.sections import write_beside
from zoo.types import Evaluation, HeadCard, ModelCard, Progress, Say, stage

if TYPE_CHECKING:
    from search.finetune.loop import Trained

# Of the best pairs of rate and share of the first layers tried on flowers, bccd and camvid (benchmarks/downstream.py).
RATES = {Task.CLS: 3e-3, Task.DET: 8e-3, Task.SEG: 8e-3}
RESNET_CLASSIFIER = 1e-3  # whose layers are not depthwise
JOB, CHECKPOINT = "job.json", "last.ckpt"
# Pictures are decoded so much larger than the input, so that windows of them are not blurred.
_DECODED = 1.25
_DECODED_IN = "SUBNET_ZOO_DECODED_IN"  # a folder; the processes that Lightning starts inherit it
_COMPARED = 64  # as ``confirm`` compares
Loss = Callable[[nn.Module, Tensor, Targets], Tensor]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train.

    Args:
        epochs: at most.
        batch: images a step.
        rate: of the head; None takes ``usual_rate``.
        first_layers: the backbone's first layers learn at this share of the rate, its last ones at all of it.
        patience: epochs without a better score before it stops.
        max_minutes: the schedule ends then; None for no limit.
        seed: of everything random.
        mirror: left and right mean nothing: pictures may be mirrored.
    """

    epochs: int = 100
    batch: int = 16
    rate: float | None = None
    patience: int = 30
    max_minutes: float | None = None
    seed: int = 0
    first_layers: float = 1.0
    mirror: bool = True

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
                raise BadRequest(f"{name} is {number}; it must be a finite number above 0")


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
    test_scores: Mapping[str, float] | None = None


def finetune_backbone(
    backbone: Backbone,
    card: ModelCard,
    split: Split,
    out: Path,
    *,
    data: str,
    size_px: int | None = None,
    recipe: Recipe | None = None,
    history: Sequence[Attachment] = (),
    running: Running = ALONE,
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
        history: how the backbone was found, to be kept in the package.
        running: devices that share the training, as ``fit``.
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
    recipe = recipe or Recipe()
    check_free(out, mark=CONFIG, overwrite=overwrite)
    task, classes = split.train.task, split.train.classes
    size_px = size_px or card.architecture.resolution_px
    _check_size(backbone, task, size_px)
    head = HeadCard(kind=KINDS[task], task=task, classes=classes)
    how = replace(card.preprocess, size_px=(size_px, size_px), fit="crop" if task is Task.CLS else "letterbox")
    work = _work_of(out)
    job = {"size_px": size_px, "head": asdict(head), "images": _fingerprint(split), **asdict(recipe)}
    settings = json.dumps(job, indent=1, sort_keys=True)
    _check_shares(min(recipe.batch, len(split.train.samples)), running)
    # Not only the first process: the others would wait for one that has ended. Those that Lightning started begin when
    # the first has checked.
    if is_first() or "LOCAL_RANK" not in os.environ:
        _check_work(work, settings, resume=resume, overwrite=overwrite)
    if is_first() and not resume:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        (work / JOB).write_text(settings, "utf-8")
    parts = [f"{len(split.train.samples)} images to train on, {len(split.val.samples)} to judge by"]
    parts += [f"{len(split.test.samples)} for the test"] if split.test else []
    say(f"{', '.join(parts)}, {len(classes)} class(es)")
    network = make_network(copy.deepcopy(backbone), head, size_px, seed=recipe.seed)
    trained, val = fit(
        network,
        split,
        how,
        recipe,
        work=work,
        running=running,
        resume=resume,
        settings=settings,
        progress=progress,
        say=say,
    )
    whole = replace(
        card,
        name=out.name,
        task=task,
        architecture=replace(card.architecture, resolution_px=size_px),
        preprocess=how,
        head=head,
        split=None,
        commit=commit(),
        zoo_version=zoo_version(),
    )

    def judged(run: Run) -> tuple[Score, Score | None]:
        return judge(run, split.val, how, val), None if split.test is None else judge(run, split.test, how)

    with tempfile.TemporaryDirectory(prefix="zoo-") as scratch:
        report = _export(network, whole, val, Path(scratch) / "model.onnx")
        with OnnxRunner(report.path, threads=report.threads) as runner:
            scores = {"torch": judged(by_torch(network)), "onnx fp32": judged(by_onnx(runner, report.target))}
        whole = replace(whole, reports=(report,), evaluation=_evaluations(data, split, scores))
        curve = Path(scratch) / CURVE
        curve.write_text(json.dumps({"settings": job, "rows": trained.rows}, indent=1) + "\n", "utf-8")
        whole = write_package(
            out,
            card=whole,
            backbone=network.backbone,
            network=network,
            overwrite=overwrite,
            attachments=[
                Attachment(path=CURVE, source=curve),
                Attachment(path=trained.log.name, source=trained.log, listed=False),
                *history,
            ],
        )
    shutil.rmtree(work, ignore_errors=True)
    write_beside(out, say=say)
    (score, test), (onnx_score, _) = scores["torch"], scores["onnx fp32"]
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
        test_scores=None if test is None else dict(test.values),
    )


def fit(
    network: nn.Module,
    split: Split,
    how: Preprocess,
    recipe: Recipe,
    *,
    work: Path,
    running: Running = ALONE,
    resume: bool = False,
    settings: str = "",
    loss: Loss | None = None,
    progress: Progress,
    say: Say,
) -> tuple[Trained, Arrays]:
    """Train any network in place; it ends with the weights that judged best on ``split.val``.

    Of several processes each trains on its share of a batch, and normalizes it apart (on GPUs the whole batch is
    normalized as one). The first of them judges; the others end when the training has, with exit code 0.

    Args:
        network: its outputs in eval mode are those of a ``Network``.
        split: of one task.
        how: it takes pictures.
        recipe: how to train.
        work: folder for the checkpoint and the curve.
        running: devices and nodes that share it; they must divide the batch.
        resume: go on from them.
        settings: and images, as text, which all processes must have in common.
        loss: of the network on a batch; None takes ``loss_of``.
        progress: called with (stage, done, all).
        say: receives a line whenever the weights were judged.

    Returns:
        What came of it, and the decoded pictures that judged.

    Raises:
        TrainingError: the loss is no number; ``work`` is then removed.
    """
    try:
        from search.finetune.head import fit_head
        from search.finetune.loop import Plan, train
        from search.machines import machines_for
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    machines, first = machines_for(running.devices, running.nodes), is_first()
    given = input_of(how)
    larger = replace(given, size_px=(math.ceil(_DECODED * how.size_px[0]), math.ceil(_DECODED * how.size_px[1])))
    told = stage(progress, "decode")
    is_there = not first and _DECODED_IN in os.environ
    own = tempfile.TemporaryDirectory(prefix="zoo-") if not first and not is_there else nullcontext(str(work))
    keeps_work = True
    try:
        with own as name:
            place = Path(os.environ[_DECODED_IN] if is_there else name)
            val = decode(split.val, given, place, "val", told=told) if first else None
            arrays = decode(split.train, larger, place, "train", placed_masks=True, is_there=is_there, told=told)
            os.environ[_DECODED_IN] = str(place)
            plan = Plan(
                # Judging takes no longer than training, however few images that has.
                judge_every=math.ceil(len(split.val.samples) / (2 * len(arrays))),
                rate=usual_rate(network, split.train.task) if recipe.rate is None else recipe.rate,
                **{name: value for name, value in asdict(recipe).items() if name not in ("mirror", "rate")},
            )
            views = Views(arrays, given, seed=recipe.seed, mirror=recipe.mirror)
            begins = not (resume and (work / CHECKPOINT).is_file())
            if begins and isinstance(network, Network) and isinstance(network.head, nn.Linear):
                fit_head(network.backbone, network.head, views, seed=recipe.seed, progress=stage(progress, "head"))
            trained = train(
                network,
                loss or loss_of,
                views,
                lambda candidate: judge(by_torch(candidate), split.val, how, val),
                plan,
                folder=work,
                resume=resume,
                machines=machines,
                settings=settings,
                progress=stage(progress, "train"),
                say=say,
            )
    except TrainingError:
        keeps_work = False  # to go on from there would end the same way
        raise
    finally:
        os.environ.pop(_DECODED_IN, None)
        if first:
            for path in (*work.glob("*.pixels"), *work.glob("*.masks")):  # what is mapped stays readable
                path.unlink(missing_ok=True)
            if not (keeps_work and (work / CHECKPOINT).is_file()):
                shutil.rmtree(work, ignore_errors=True)
    if trained is None or val is None:
        raise SystemExit(0)
    return trained, val


def usual_rate(network: nn.Module, task: Task) -> float:
    """The rate at which a network learns well: ``benchmarks/downstream.py``."""
    is_resnet = isinstance(getattr(network, "backbone", None), ResNetBackbone)
    return RESNET_CLASSIFIER if is_resnet and task is Task.CLS else RATES[task]


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


def can_resume(out: Path) -> bool:
    """Whether an interrupted run of ``out`` can go on."""
    return (_work_of(out) / CHECKPOINT).is_file()


def _work_of(out: Path) -> Path:
    return out.resolve().with_name(f".{out.name}.finetune")


def _check_work(work: Path, settings: str, *, resume: bool, overwrite: bool) -> None:
    if resume and not (work / JOB).is_file():
        raise BadRequest(f"{work} holds no interrupted run; leave --resume out")
    if resume and (work / JOB).read_text("utf-8") != settings:
        raise BadRequest(f"{work} holds a run with other settings or images; give the same, or leave --resume out")
    if not resume and not overwrite and any(work.glob("*.ckpt")):
        raise OutputExists(f"{work} holds an unfinished run; --resume goes on with it, --overwrite begins anew")


def _check_shares(batch: int, running: Running) -> None:
    """Raise BadRequest where the processes do not divide the images of a step."""
    try:
        from search.machines import machines_for
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    count = machines_for(running.devices, running.nodes).count
    if batch % count:
        fits = f"take a --batch of {batch // count * count}" if batch > count else f"share it among {batch} at most"
        raise BadRequest(f"{count} processes share the work, and a step has {batch} images; {fits}")


def _missing(error: ModuleNotFoundError) -> MissingExtra:
    return MissingExtra(f"fine-tuning needs {error.name}; install it: pip install 'subnet-zoo[search]'")


def _fingerprint(split: Split) -> str:
    """Of all that the pictures and their labels are known by."""
    digest = hashlib.sha256()
    for one in (*split.train.samples, *split.val.samples):
        boxes = b"" if one.boxes_M4 is None or one.labels_M is None else one.boxes_M4.tobytes() + one.labels_M.tobytes()
        digest.update(f"{one.path.name} {one.path.stat().st_size} {one.size_px} {one.label}".encode() + boxes)
    return digest.hexdigest()


def _export(network: Network, card: ModelCard, val: Arrays, path: Path) -> ExportReport:
    """The ONNX file, compared with torch on validation pictures and timed."""
    device = this_device()
    choices = json.dumps(card.architecture.choices)
    assert card.head is not None
    return export(
        network,
        val.how.normalized(val.pixels_NHWC[:_COMPARED]),
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


def _evaluations(data: str, split: Split, scores: Mapping[str, tuple[Score, Score | None]]) -> tuple[Evaluation, ...]:
    """A figure for each metric of each part by each way of running."""
    return tuple(
        Evaluation(data=f"{data} {part}", metric=name, value=round(value, 5), protocol=_protocol(split, samples, how))
        for how, (val, test) in scores.items()
        for part, samples, score in (("validation", split.val, val), ("test", split.test, test))
        if score is not None and samples is not None
        for name, value in score.values.items()
    )


def _protocol(split: Split, judged: Samples, how: str) -> str:
    chosen = " that chose the weights" if judged is split.val else ""
    return f"fine-tuned on {len(split.train.samples)} images, judged on {len(judged.samples)}{chosen}, {how}"
