"""Read labelled data: a folder of one task, with or without folders for training and validation."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from search.errors import BadLabels
from search.labels.boxes import read_boxes
from search.labels.classes import read_classes
from search.labels.masks import read_masks
from search.labels.samples import Faults, Samples
from search.types import Task

_TRAIN, _VAL = ("train", "training"), ("val", "valid", "validation", "test")
_READERS = {Task.CLS: read_classes, Task.DET: read_boxes, Task.SEG: read_masks}


@dataclass(frozen=True, kw_only=True)
class Split:
    """What is trained on, and what judges; both have the same classes."""

    train: Samples
    val: Samples


def read_samples(folder: Path, task: Task, *, classes: tuple[str, ...] | None = None, skip: bool = False) -> Samples:
    """Every labelled picture of a folder; each is decoded once, so that none fails later.

    Args:
        folder: see ``search.labels``.
        task: says what labels are looked for.
        classes: those that may occur, in the order of their labels; None takes the ones that are there.
        skip: leave faulty pictures out, and count them.

    Raises:
        BadLabels: the first fault, or too few classes or pictures.
    """
    if not folder.is_dir():
        raise BadLabels(f"{folder} is not a folder; name one that holds labelled images")
    faults = Faults(skip=skip)
    names, samples = _READERS[task](folder, classes, faults)
    least = 1 if task is Task.DET else 2
    if len(names) < least:
        raise BadLabels(f"{folder} has {len(names)} class(es) of {task}; there must be at least {least}")
    if not samples:
        raise BadLabels(f"{folder} has no labelled image that can be read ({len(faults.found)} skipped); add some")
    return Samples(task=task, classes=names, samples=tuple(samples), skipped=tuple(faults.found))


def read_split(folder: Path, task: Task, *, val_fraction: float = 0.2, seed: int = 0, skip: bool = False) -> Split:
    """Folders ``train`` and ``val`` (or ``valid``, ``test``) of a data set, or one folder cut in two.

    Args:
        folder: of the data.
        task: of the labels.
        val_fraction: share of each class that judges, where there are no such folders.
        seed: of the cut.
        skip: leave faulty pictures out.

    Raises:
        BadLabels: see ``read_samples``; one of the two folders is missing, or the cut leaves one side empty.
    """
    train, val = (next((folder / name for name in names if (folder / name).is_dir()), None) for names in (_TRAIN, _VAL))
    if train is not None and val is not None:
        known = read_samples(train, task, skip=skip)
        return Split(train=known, val=read_samples(val, task, classes=known.classes, skip=skip))
    if train is not None or (val is not None and task is not Task.CLS):
        there = train or val
        raise BadLabels(f"{there} has no folder beside it for {'validation' if train else 'training'}; add one")
    return cut(read_samples(folder, task, skip=skip), val_fraction, seed)


def cut(whole: Samples, val_fraction: float, seed: int) -> Split:
    """Two parts, with about the same share of every class in both; same seed, same parts.

    Raises:
        BadLabels: a part is empty.
    """
    rng = np.random.default_rng(seed)
    strata: dict[int, list[int]] = {}
    for i, stratum in enumerate(_strata(whole)):
        strata.setdefault(stratum, []).append(i)
    chosen: set[int] = set()
    due = 0.0
    for stratum in sorted(strata):
        rows = rng.permutation(strata[stratum])
        due += val_fraction * len(rows)
        take = min(round(due), len(rows))
        due -= take
        chosen |= set(rows[:take].tolist())
    parts = [tuple(one for i, one in enumerate(whole.samples) if (i in chosen) == is_val) for is_val in (False, True)]
    if not all(parts):
        raise BadLabels(f"{len(whole.samples)} images cut at {val_fraction:g} leave one part empty; add images")
    return Split(train=replace(whole, samples=parts[0]), val=replace(whole, samples=parts[1], skipped=()))


def _strata(whole: Samples) -> list[int]:
    """The class of each picture; with boxes, its rarest one."""
    if whole.task is Task.CLS:
        return [one.label for one in whole.samples]
    labels = [set() if one.labels_M is None else set(one.labels_M.tolist()) for one in whole.samples]
    counts = Counter(label for there in labels for label in there)
    return [min(there, key=lambda label: (counts[label], label), default=-1) for there in labels]
