"""Evaluate: how good networks' frozen features are on labelled images, by weighted k-NN and by a linear classifier.

Labels only judge: no training and no search sees them. Images are decoded once, and a network's features are computed
once for both figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from search.evaluate import (
    Labelled,
    Preprocessing,
    embed,
    knn_accuracy,
    linear_accuracy,
    read_labelled,
    recalibrate_on,
)
from search.nets import Backbone
from search.types import Architecture
from zoo.checks import Count, Seed
from zoo.errors import BadRequest
from zoo.progress import Watch, watching
from zoo.types import Say, stage, tell
from zoo.use.resolve import find_subject, untrained

_NEIGHBORS = 200  # as published figures have it


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Shares of the test images, 0..1, that are classified right."""

    knn: float
    linear: float

    def __str__(self) -> str:
        """``k-NN 38.3 %, linear 44.5 %``."""
        return f"k-NN {100 * self.knn:.1f} %, linear {100 * self.linear:.1f} %"


@dataclass(frozen=True, kw_only=True)
class Quality:
    """One network's figures; ``untrained`` are those of the same network with fresh weights, where asked for."""

    network: str
    architecture: Architecture
    params: int
    trained: Accuracy
    untrained: Accuracy | None


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What was judged, and on how many images.

    Args:
        name: of the supernet or package.
        resolution_px: side of the networks' input.
        k: neighbors that vote.
        train: labelled images that the classifiers know.
        test: images that they classified.
        classes: how many.
        networks: each one's figures.
    """

    name: str
    resolution_px: int
    k: int
    train: int
    test: int
    classes: int
    networks: tuple[Quality, ...]

    @property
    def standard_error(self) -> float:
        """Of an accuracy, at most: that of one half."""
        return 0.5 / math.sqrt(self.test)


def evaluate(
    what: str | Path,
    *,
    train: str | Path,
    test: str | Path,
    subnets: Seed = 2,
    architectures: Sequence[str] = (),
    k: Count | None = None,
    limit: Count | None = None,
    with_untrained: bool = False,
    seed: Seed = 0,
    progress: Watch = "auto",
    say: Say = tell,
) -> Evaluated:
    """Judge networks of a supernet - by default its largest, its smallest and random ones - or a package's.

    A supernet's networks get statistics of the training images first, as a search gives them those of the user's; a
    package's network is judged as it was delivered.

    Args:
        what: name or folder of a supernet, or of a package.
        train: a folder with one sub-folder a class.
        test: another one; its classes are among those of ``train``.
        subnets: random networks of a supernet.
        architectures: networks of a supernet in place of all those, each by its choices.
        k: neighbors that vote; None takes 200, of fewer training images a quarter of them.
        limit: at most this many images of each folder, evenly spread.
        with_untrained: judge each network with fresh weights, too.
        seed: of random networks, of fresh weights, and of the images that statistics and penalties are chosen on.
        progress: ``auto`` (bars or lines, as fits), None, or a function called with (stage, done, all).
        say: receives one line for each thing that happened.

    Raises:
        UnknownName: nothing is called ``what``.
        BadRequest: architectures of a package, or fewer training images than ``k``.
        BadArchitecture: the net has no such network.
        NotEnoughImages: a folder is missing, or no image in it can be read.
        BadLabels: no sub-folders, one class only, or classes in ``test`` that ``train`` has not.
    """
    progress = watching(progress)
    train, test = Path(train), Path(test)
    subject = find_subject(what, subnets=subnets, architectures=architectures, seed=seed, progress=progress, say=say)
    size_px = subject.preprocess.size_px
    known = read_labelled(train, size_px=size_px, limit=limit, progress=stage(progress, "train"))
    if k is None:
        k = _NEIGHBORS if len(known.labels) >= _NEIGHBORS else max(1, len(known.labels) // 4)
        if k < _NEIGHBORS:
            say(f"{k} neighbors vote, for {len(known.labels)} training images are fewer than {_NEIGHBORS}")
    elif len(known.labels) < k:
        raise BadRequest(
            f"{len(known.labels)} training images are fewer than the {k} neighbors that vote; add images, or lower --k"
        )
    asked = read_labelled(test, size_px=size_px, classes=known.classes, limit=limit, progress=stage(progress, "test"))
    _tell_skipped(train, known, say)
    _tell_skipped(test, asked, say)
    exam = _Exam(train=known, test=asked, preprocess=subject.preprocess, k=k, seed=seed)
    rows = []
    for name, architecture in subject.networks.items():
        network = subject.cut(architecture)
        trained = exam.accuracy(network, stage(progress, name), recalibrated=not subject.calibrated)
        say(f"{name}: {trained}")
        fresh = None
        if with_untrained:
            other, report = untrained(architecture, seed), stage(progress, f"{name} untrained")
            fresh = exam.accuracy(other, report, recalibrated=True)
            say(f"{name} untrained: {fresh}")
        params = sum(parameter.numel() for parameter in network.parameters())
        rows.append(Quality(network=name, architecture=architecture, params=params, trained=trained, untrained=fresh))
    return Evaluated(
        name=subject.name,
        resolution_px=size_px,
        k=k,
        train=len(known.labels),
        test=len(asked.labels),
        classes=len(known.classes),
        networks=tuple(rows),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Exam:
    """What every network is asked."""

    train: Labelled
    test: Labelled
    preprocess: Preprocessing
    k: int
    seed: int

    def accuracy(self, network: Backbone, report: Callable[[int, int], None], *, recalibrated: bool) -> Accuracy:
        if recalibrated:
            recalibrate_on(network, self.train.pixels, self.preprocess, seed=self.seed)
        known, asked = len(self.train.labels), len(self.test.labels)
        known_ND = embed(network, self.train.pixels, self.preprocess, lambda n, _: report(n, known + asked))  # noqa: N806
        asked_MD = embed(  # noqa: N806
            network, self.test.pixels, self.preprocess, lambda n, _: report(known + n, known + asked)
        )
        data = (known_ND, self.train.labels, asked_MD, self.test.labels)
        return Accuracy(knn=knn_accuracy(*data, k=self.k), linear=linear_accuracy(*data, seed=self.seed))


def _tell_skipped(folder: Path, images: Labelled, say: Say) -> None:
    if images.skipped:
        first = images.skipped[0]
        say(f"{len(images.skipped)} images of {folder} skipped, first {first.path.name}: {first.reason}")
