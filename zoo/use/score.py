"""Score: how good a whole model is on labelled pictures, by torch or by one of its artefacts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from export.types import ExportTarget
from export.verify.contained import ContainedRunner, GraphError
from hardware_profiles.types import Precision
from search.labels.read import judged_folder, read_samples
from zoo.catalogue.locate import locate
from zoo.errors import BadPackage, BadRequest
from zoo.heads.predictions import BATCH, Run, by_onnx, by_torch, judge
from zoo.names import printable, shown
from zoo.package.folder import Package, keep_evaluation, load_package
from zoo.progress import Watch, watching
from zoo.types import Evaluation, HeadCard, Say, stage, tell

ARTEFACTS: Mapping[str, Precision] = {"onnx": "fp32", "fp16": "fp16", "int8": "int8"}


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Shares, 0 to 1: ``values`` by metric, ``per_class`` by name, NaN for a class that the pictures do not show."""

    name: str
    data: str
    artefact: str
    values: Mapping[str, float]
    per_class: Mapping[str, float]
    images: int
    skipped: int


def score(
    package: str | Path,
    *,
    data: str | Path,
    artefact: str = "torch",
    skip: bool = False,
    keep: bool = False,
    progress: Watch = "auto",
    say: Say = tell,
) -> Scored:
    """Judge a whole model on labelled pictures, each in its own pixels.

    Args:
        package: a folder or a name.
        data: a folder of the package's task, see ``search.labels``; its classes are the package's. Of a data set with
            such folders its ``test`` is judged, else its ``val``.
        artefact: ``torch``, ``onnx``, ``fp16`` or ``int8``.
        skip: leave faulty pictures out.
        keep: write the figures into the card of the package, which is a folder.
        progress: ``auto`` (bars or lines, as fits), None, or a function called with (stage, done, all).
        say: receives one line for each thing that happened.

    Raises:
        BadRequest: no head, no such artefact, or figures to keep in what is no folder.
        BadLabels: a fault of the data.
    """
    progress = watching(progress)
    ready = load_package(locate(package, say=say, progress=progress))
    head = whole_of(ready)
    if keep and ready.folder.resolve() != Path(package).resolve():
        raise BadRequest(
            f"{shown(str(package))} is no folder whose card could keep figures; copy it: zoo get {package} --to FOLDER"
        )
    folder = judged_folder(Path(data))
    with running(ready, artefact) as run:
        samples = read_samples(folder, head.task, classes=head.classes, skip=skip, told=stage(progress, "images"))
        found = judge(run, samples, ready.card.preprocess)
    about = Path(data).resolve().name if folder == Path(data) else f"{Path(data).resolve().name} {folder.name}"
    if keep:
        protocol = f"judged on {found.images} images, {artefact}"
        figures = [
            Evaluation(data=about, metric=name, value=round(value, 5), protocol=protocol)
            for name, value in found.values.items()
        ]
        keep_evaluation(ready.folder, figures)
    if samples.skipped:
        say(f"{len(samples.skipped)} faults skipped, first {samples.skipped[0].path.name}: {samples.skipped[0].reason}")
    return Scored(
        name=ready.card.name,
        data=about,
        artefact=artefact,
        values=dict(found.values),
        per_class=dict(zip(head.classes, found.per_class, strict=True)),
        images=found.images,
        skipped=len(samples.skipped),
    )


def whole_of(package: Package) -> HeadCard:
    """The head of a whole model.

    Raises:
        BadRequest: there is none.
    """
    if package.card.head is None:
        raise BadRequest(f"{package.card.name} is a backbone without a head; `zoo finetune` trains one on labels")
    return package.card.head


@contextmanager
def running(package: Package, artefact: str) -> Iterator[Run]:
    """Torch or an artefact of a package, loaded.

    Raises:
        BadRequest: it has no such artefact.
        BadPackage: it cannot be run within bounds of ours.
    """
    if artefact == "torch":
        assert package.network is not None
        yield by_torch(package.network)
        return
    if artefact not in ARTEFACTS:
        raise BadRequest(f"artefact is {artefact!r}; there are torch, {', '.join(ARTEFACTS)}")
    fits = [one for one in package.card.reports if one.target.precision == ARTEFACTS[artefact]]
    if not fits or fits[0].target.uint8_input:
        there = ", ".join(sorted({one.target.precision for one in package.card.reports}))
        raise BadRequest(
            f"{package.card.name} has no {artefact} file of floats (it has {there}); `zoo export` makes one"
        )
    path, threads = package.folder / fits[0].path, fits[0].threads
    try:  # where it can do no harm: the package may be a stranger's
        with ContainedRunner(path, threads=threads, input_bytes=_largest_input(fits[0].target)) as runner:
            yield by_onnx(runner, fits[0].target)
    except GraphError as error:
        raise BadPackage(f"{path.name} cannot be run: {printable(str(error))}; get the package again") from None


def _largest_input(target: ExportTarget) -> int:
    """Bytes of a batch as ``judge`` and ``predict`` give it to an artefact."""
    return 4 * BATCH * math.prod(target.input_nchw[1:])
