"""Read labelled data: a folder of one task, with or without folders for training and validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from search.errors import BadLabels
from search.images.read import open_picture, to_square
from search.labels.boxes import read_boxes
from search.labels.checks import Told
from search.labels.classes import read_classes
from search.labels.masks import read_masks
from search.labels.samples import Faults, Sample, Samples
from search.types import Task

_TRAIN, _VAL, _TEST = ("train", "training"), ("val", "valid", "validation"), ("test", "testing")
# Pictures that are looked at for whether all are the same, and how small that needs to be seen.
_COMPARED, _COMPARED_PX = 64, 32
_READERS = {Task.CLS: read_classes, Task.DET: read_boxes, Task.SEG: read_masks}


@dataclass(frozen=True, kw_only=True)
class Split:
    """Parts of the same classes.

    Args:
        train: is trained on.
        val: judges while it is, and so chooses among weights.
        test: judges once, at the end; None where the data has no folder for that.
        note: what is to be known of the parts, for people.
    """

    train: Samples
    val: Samples
    test: Samples | None = None
    note: str | None = None


def untold(done: int, total: int) -> None:
    """For callers who do not watch."""


def read_samples(
    folder: Path, task: Task, *, classes: tuple[str, ...] | None = None, skip: bool = False, told: Told = untold
) -> Samples:
    """Every labelled picture of a folder; each is decoded once, so that none fails later.

    Args:
        folder: see ``search.labels``.
        task: says what labels are looked for.
        classes: those that may occur, in the order of their labels; None takes the ones that are there.
        skip: leave faulty pictures out, and count them.
        told: called with (pictures read, all).

    Raises:
        BadLabels: the first fault, or too few classes or pictures.
    """
    if not folder.is_dir():
        raise BadLabels(f"{folder} is not a folder; name one that holds labelled images")
    faults = Faults(skip=skip)
    names, samples = _READERS[task](folder, classes, faults, told)
    least = 1 if task is Task.DET else 2
    if len(names) < least:
        others = " or ".join(one for one in Task if one is not task)
        raise BadLabels(
            f"{folder} has {len(names)} class(es) of {task}; there must be at least {least}, or its labels are of"
            f" another task: {others}"
        )
    if not samples:
        raise BadLabels(f"{folder} has no labelled image that can be read ({len(faults.found)} skipped); add some")
    return Samples(task=task, classes=names, samples=tuple(samples), skipped=tuple(faults.found))


def refuse_copies(folder: Path, samples: Sequence[Sample]) -> None:
    """Compare pictures, evenly spread, before hours go into what teaches nothing.

    Raises:
        BadLabels: there are several, and all are the same.
    """
    spread = samples[:: -(-len(samples) // _COMPARED)]
    seen: set[bytes] = set()
    for one in spread:
        with open_picture(one.path) as image:
            seen.add(to_square(image, _COMPARED_PX).tobytes())
        if len(seen) > 1:
            return
    if len(spread) > 1:
        raise BadLabels(f"{folder}: the {len(spread)} pictures that were compared are all the same; add others")


def read_split(
    folder: Path, task: Task, *, val_fraction: float = 0.2, seed: int = 0, skip: bool = False, told: Told = untold
) -> Split:
    """Folders ``train``, ``val`` (or ``valid``) and ``test`` of a data set, or one folder cut in two.

    Where there is no folder for validation, a part of the training pictures judges; ``test`` never does before the end.

    Args:
        folder: of the data.
        task: of the labels.
        val_fraction: share of each class that judges, where there is no such folder.
        seed: of the cut.
        skip: leave faulty pictures out.
        told: called with (pictures read, all) of each folder.

    Raises:
        BadLabels: see ``read_samples``; there is no folder for training, or the cut leaves one side empty.
    """
    train, val, test = (part_of(folder, names) for names in (_TRAIN, _VAL, _TEST))
    if train is None and (val or test) is not None and (task is not Task.CLS or (val and test)):
        raise BadLabels(f"{val or test} has no folder beside it for training; add {folder / _TRAIN[0]}")
    if train is None:
        return cut(read_samples(folder, task, skip=skip, told=told), val_fraction, seed)
    known = read_samples(train, task, skip=skip, told=told)
    others = [
        None if one is None else read_samples(one, task, classes=known.classes, skip=skip, told=told)
        for one in (val, test)
    ]
    if others[0] is not None:
        return Split(train=known, val=others[0], test=others[1])
    note = f"no folder {folder / _VAL[0]}: {100 * val_fraction:g} % of {train.name} judges"
    note += "" if test is None else f", {test.name} only at the end"
    return replace(cut(known, val_fraction, seed), test=others[1], note=note)


def judged_folder(folder: Path) -> Path:
    """The part of a data set that a finished model is judged by: its ``test``, else its ``val``, else all of it."""
    return part_of(folder, _TEST) or part_of(folder, _VAL) or folder


def part_of(folder: Path, names: Sequence[str]) -> Path | None:
    """The sub-folder with one of these names."""
    return next((folder / name for name in names if (folder / name).is_dir()), None)


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
