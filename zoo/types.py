"""The values of this package: a model's card, with the evidence and the provenance inside."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue

from export.types import ExportReport, Preprocess
from hardware_profiles.types import DeviceProfile, Scaling, Validation
from search.types import Architecture, Budget, Task


@dataclass(frozen=True, kw_only=True)
class Images:
    """The user's images that scored the networks: how many, and a fingerprint; never their names.

    Args:
        count: images that were read.
        skipped: files that looked like images and could not be read.
        fingerprint: sha256 over the relative paths and contents of the files that were read; or how they were made.
    """

    count: int
    skipped: int
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Try:
    """A network that was exported and timed because the search liked it."""

    architecture: Architecture
    score: float
    predicted_ms: float
    measured_ms: float | None


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """How a network was made, so that it can be made again.

    Args:
        supernet: name of the supernet that it was cut from.
        supernet_sha256: of that supernet's weight file.
        supernet_recipe: how the supernet was trained (objective, epochs, seed, ...).
        supernet_data: what it was trained on, and the terms of that data.
        device: the profile that the budget holds for.
        table_validation: how well the latency table predicted networks it had not seen.
        table_scaling: that the table was scaled from another resolution; None where it was not.
        seed: of the search.
        evaluated: networks that were scored.
        seconds: duration of the search.
        tries: networks that were timed on the device, in order; the last one is the package's.
        limits: all that the network had to meet, where that was more than its name's budget.
        criterion: what its score is, see ``search.scores``; None in packages that were made before it was kept.
    """

    supernet: str
    supernet_sha256: str
    supernet_recipe: Mapping[str, JsonValue] = field(hash=False)
    supernet_data: Mapping[str, JsonValue] = field(hash=False)
    device: DeviceProfile
    table_validation: Validation | None
    seed: int
    evaluated: int
    seconds: float
    tries: tuple[Try, ...]
    table_scaling: Scaling | None = None
    limits: Budget | None = None
    criterion: str | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One figure on labelled data, e.g. ``knn top1`` of ``cifar10``, with the way it was obtained."""

    data: str
    metric: str
    value: float
    protocol: str


@dataclass(frozen=True, kw_only=True)
class HeadCard:
    """The head that makes a whole model of a backbone.

    Args:
        kind: ``linear`` for cls, and the light heads of ``search.nets.heads``: ``fcos`` for det, ``lraspp`` for seg.
        task: what it answers.
        classes: their names, in the order of the labels.
        trained: on labels; until then its weights are those of a seed and its outputs mean nothing.
    """

    kind: Literal["linear", "fcos", "lraspp"]
    task: Task
    classes: tuple[str, ...]
    trained: bool = True


@dataclass(frozen=True, kw_only=True)
class Split:
    """Where a whole model's milliseconds go; the measured head is the whole less the backbone with its maps."""

    predicted_backbone_ms: float
    predicted_head_ms: float
    measured_backbone_ms: float | None = None
    measured_head_ms: float | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class ModelCard:
    """All that is known of a packaged network, its weights apart.

    Args:
        name: of the grammar, e.g. ``data-mocov2-cls-1ms@this``.
        reports: one for each artefact, its ``path`` relative to the package.
        commit: of the code that made it, where known.
        head: of a whole model; None where the network ends in an embedding and maps.
        split: of a whole model's milliseconds.
    """

    name: str
    architecture: Architecture
    task: Task
    recipe: Provenance
    preprocess: Preprocess
    reports: tuple[ExportReport, ...]
    evaluation: tuple[Evaluation, ...]
    license: str
    images: Images
    commit: str | None
    zoo_version: str
    head: HeadCard | None = None
    split: Split | None = None

    def __repr__(self) -> str:
        """What fits a screen; ``dataclasses.asdict`` has all."""
        how, a = self.recipe, self.architecture
        rows = [f"ModelCard {self.name}", f"  {self.task}, {a.net} at {self.preprocess.size_px}, from {how.supernet}"]
        for report in self.reports:
            times = [("predicted", report.predicted_ms), ("measured", report.measured and report.measured.median_ms)]
            text = ", ".join(f"{ms:.3g} ms {kind}" for kind, ms in times if ms is not None) or "not timed"
            rows.append(f"  {report.path}: {report.bytes / 1e6:.1f} MB, {text} on {report.device}")
        if self.head is not None:
            state = "trained" if self.head.trained else "not trained yet: zoo finetune"
            rows.append(f"  {self.head.kind} head for {len(self.head.classes)} class(es), {state}")
        if self.split is not None:
            rows.append(f"  {split_text(self.split)}")
        rows.append(f"  searched on {self.images.count} images, seed {how.seed}, {how.evaluated} networks scored")
        return "\n".join([*rows, f"  license {self.license}, made by subnet-zoo {self.zoo_version}"])


def split_text(split: Split) -> str:
    """``backbone 1.62 ms + head 0.71 ms predicted, 1.58 + 0.74 measured``."""
    text = f"backbone {split.predicted_backbone_ms:.3g} ms + head {split.predicted_head_ms:.3g} ms predicted"
    if split.measured_backbone_ms is None or split.measured_head_ms is None:
        return text
    return f"{text}, {split.measured_backbone_ms:.3g} + {split.measured_head_ms:.3g} measured"


TaskName = Task | Literal["cls", "det", "seg"]
Progress = Callable[[str, int, int], None]
Say = Callable[[str], None]


def no_progress(name: str, done: int, total: int) -> None:
    """For callers who do not watch."""


def silent(line: str) -> None:
    """For callers who do not listen."""


def tell(line: str) -> None:
    """For callers who did not say: to a terminal or a notebook, and else to the log of ``zoo``."""
    if sys.stderr.isatty() or "ipykernel" in sys.modules:
        print_above_bars(f"zoo: {line}")
    else:
        logging.getLogger("zoo").info(line)


def print_above_bars(line: str) -> None:
    """Print on stderr; bars that are there move down."""
    if "tqdm" not in sys.modules:  # so there is none
        print(line, file=sys.stderr)
        return
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)


def stage(progress: Progress, name: str) -> Callable[[int, int], None]:
    """``progress`` for one stage."""
    return lambda done, total: progress(name, done, total)
