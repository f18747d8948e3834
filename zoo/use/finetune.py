"""Fine-tune a model by its name: labelled pictures in, a whole model out."""

from __future__ import annotations

from pathlib import Path

from hardware_profiles import estimate_ms
from hardware_profiles.errors import ProfileError
from search.labels.read import read_split, refuse_copies
from search.nets import NETS
from search.nets.whole import family_for
from search.running import ALONE, Running
from search.types import Task
from zoo.catalogue.locate import as_folder, as_question, card_of, on_hub
from zoo.checks import Count
from zoo.devices.tables import table_of
from zoo.errors import BadName, BadRequest
from zoo.make.finetune import Finetuned, Recipe, finetune_backbone
from zoo.names import parse_name, shown
from zoo.package.card import CONFIG
from zoo.package.history import HISTORY
from zoo.package.staging import check_free
from zoo.progress import Watch, watching
from zoo.supernets import supernet_folder
from zoo.types import ModelCard, Say, TaskName, stage, tell
from zoo.use.resolve import find_exportable


def finetune(
    source: str | Path,
    *,
    data: str | Path,
    out: str | Path,
    task: TaskName | None = None,
    size_px: Count | None = None,
    val_fraction: float = 0.2,
    skip: bool = False,
    architecture: str | None = None,
    recipe: Recipe | None = None,
    running: Running = ALONE,
    resume: bool = False,
    overwrite: bool = False,
    progress: Watch = "auto",
    say: Say = tell,
) -> Finetuned:
    """Train a model with a new head on labelled pictures, and package the whole.

    Args:
        source: a package's folder, a name, or a supernet with ``architecture``.
        data: class folders or a CSV; COCO, VOC or YOLO boxes; or images and masks: see ``search.labels``.
        out: the package's folder.
        task: ``cls``, ``det`` or ``seg``; None takes the source's.
        size_px: side of the input; None takes the source's.
        val_fraction: share of the pictures that judges, where the data has no folders for that.
        skip: leave faulty pictures out.
        architecture: of a supernet: ``largest``, ``smallest``, or its choices as a JSON list.
        recipe: how to train.
        running: devices and nodes that share each batch, and must divide it. The first process packages; the others end
            before that, with exit code 0.
        resume: go on where an interrupted run stopped.
        overwrite: replace an earlier package.
        progress: ``auto`` (bars or lines, as fits), None, or a function called with (stage, done, all).
        say: receives one line for each thing that happened.

    Raises:
        BadLabels: the first fault of the data, found before any training.
        BadRequest: see ``zoo.make.finetune``.
        UnknownName: nothing is called ``source``.

    Example:
        >>> zoo.finetune("data-mocov2-det-3ms", data="cells", out="cell-counter").scores  # doctest: +SKIP
        {'mAP': 0.52, 'mAP50': 0.84}
    """
    progress = watching(progress)
    out, data = Path(out), Path(data)
    check_free(out, mark=CONFIG, overwrite=overwrite)
    if not 0 < val_fraction < 1:
        raise BadRequest(f"val_fraction is {val_fraction:g}; it is a share between 0 and 1")
    wanted = _task_of(source) if task is None else Task(task)
    # Before a network is made, which may take a minute.
    split = read_split(
        data,
        wanted,
        val_fraction=val_fraction,
        seed=(recipe or Recipe()).seed,
        skip=skip,
        told=stage(progress, "images"),
    )
    refuse_copies(data, split.train.samples)
    if split.note is not None:
        say(split.note)
    parts = [part for part in (split.train, split.val, split.test) if part is not None]
    if skipped := [one for part in parts for one in part.skipped]:
        say(f"{len(skipped)} faults skipped, first {skipped[0].path.name}: {skipped[0].reason}")
    ready = find_exportable(source, architecture=architecture, say=say, progress=progress)
    if architecture is None and wanted is not ready.card.task:
        say(
            f"{shown(str(source))} was searched for {ready.card.task} and learns {wanted}; for one whose budget counts"
            f" its head: zoo search --task {wanted}"
        )
    made = finetune_backbone(
        ready.backbone,
        ready.card,
        split,
        out,
        data=data.resolve().name,
        size_px=size_px,
        recipe=recipe,
        running=running,
        history=[one for one in ready.history if one.path == HISTORY],
        resume=resume,
        overwrite=overwrite,
        progress=progress,
        say=say,
    )
    if (line := _expected(ready.card, made.card)) is not None:
        say(line)
    return made


def _task_of(source: str | Path) -> Task:
    """What the network is for; nothing is made."""
    if supernet_folder(str(source)) is not None:
        return Task.CLS
    if as_folder(source) is not None or on_hub(source) is not None:
        return card_of(source).card.task
    return as_question(str(source)).task


def _expected(source: ModelCard, made: ModelCard) -> str | None:
    """How long the whole model is expected to take on the device of the source's name, against that name's budget."""
    head, architecture = made.head, made.architecture
    try:
        name = parse_name(source.name)
        assert head is not None
        net = family_for(NETS[architecture.net], head.task, len(head.classes))
        table = table_of(source.recipe.device.id, architecture.net, architecture.resolution_px)
        predicted_ms = estimate_ms(table, net.ops(architecture))
    except (BadName, ProfileError):  # a name that asks for nothing, or a device without a table for this size
        return None
    line = f"predicted {predicted_ms:.3g} ms on {source.recipe.device.id}"
    if (limit_ms := name.budget.latency_ms) is None:
        return line
    over = (
        ""
        if predicted_ms <= limit_ms
        else f"; more than its name allows: take a smaller --size than {architecture.resolution_px} px"
    )
    return f"{line}, of the {limit_ms:g} ms of {source.name}{over}"
