"""Plan: what a study trains and asks, and the files that hold its answers, one for each network and labelled set."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from hardware_profiles.replace_file import replace_file
from search.nets import HANDCRAFTED
from search.nets.handcrafted import MOBILES, RESNETS, SMALL_PX
from search.types import Architecture

TABLE, PROTOCOL = "table.csv", "study.json"
_WELL_KNOWN = ("resnet18", "resnet34", "resnet50", "mobilenetv2")
SEARCHED = "searched"  # the family of networks that a search found


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What all networks of a study share.

    Args:
        images: the folder of unlabelled images.
        images_seen: by each network in all, copies counted.
        objective: a key of ``search.objectives.OBJECTIVES``.
        batch: images a step.
        resolution_px: side of the networks' input.
        width_divisor: of the published widths; the networks that a search found keep theirs.
        device: whose cost model says how long each takes.
        limit: labelled images of each folder, at most; evenly spread over the classes.
        seed: of everything random.
    """

    images: str
    images_seen: int = 64_000
    objective: str = "simclr"
    batch: int = 64
    resolution_px: int = 32
    width_divisor: int = 1
    device: str = "galaxy-s24"
    limit: int | None = None
    seed: int = 0

    @property
    def priced_px(self) -> int:
        """The input at which a network's milliseconds are predicted.

        Devices were timed on photos. A small network's maps are those of its form for photos of four times the side.
        """
        return self.resolution_px * (4 if self.resolution_px <= SMALL_PX else 1)


@dataclass(frozen=True, kw_only=True)
class LabelledSet:
    """A folder with ``train`` and ``test``, a sub-folder a class in each; a ``source`` is like the images."""

    name: str
    folder: str
    source: bool = False


@dataclass(frozen=True, kw_only=True)
class Job:
    """One network: train it, and ask it all sets; independent of every other.

    Args:
        name: of the network.
        architecture: which it is.
        protocol: how.
        sets: the questions.
        out: the study's folder, which all machines that work on it see under this name.
        threads: that it computes with; the last digits of a result depend on them.
    """

    name: str
    architecture: Architecture
    protocol: Protocol
    sets: tuple[LabelledSet, ...]
    out: Path
    threads: int = 1

    @property
    def folder(self) -> Path:
        """Of its training."""
        return self.out / "networks" / self.name

    @property
    def missing(self) -> tuple[LabelledSet, ...]:
        """The sets without an answer."""
        return tuple(one for one in self.sets if not answer_file(self.out, self.name, one.name).exists())


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a job on one set: told, or why it was not answered."""

    set: str
    told: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A network on a set; what is not known is None, and ``reason`` says why.

    Args:
        variant: the network.
        family: of its net, or ``searched``.
        set: the labelled set.
        source: it is like the images of the training.
        classes: of the set.
        train: labelled images that the classifiers know.
        test: images that they are asked.
        knn: share of those, 0..1, that the vote of 200 neighbors gets right.
        linear: that a linear classifier gets right.
        params: of the network, without projector.
        early_params: those up to the second of its four stages of maps.
        macs: multiply-accumulates of one image.
        ms: of one image, predicted for the protocol's device at ``Protocol.priced_px``.
        reason: why there are none.
    """

    variant: str
    set: str
    family: str = ""
    source: bool = False
    classes: int | None = None
    train: int | None = None
    test: int | None = None
    knn: float | None = None
    linear: float | None = None
    params: int | None = None
    early_params: int | None = None
    macs: int | None = None
    ms: float | None = None
    reason: str = ""


def family_of(name: str) -> str:
    """``resnet-variants`` or ``mobilenet-variants``; ``searched`` for a network of neither."""
    return next((family for family, net in HANDCRAFTED.items() if name in net.shapes), SEARCHED)


def spread(count: int, seed: int) -> list[str]:
    """``count`` variants, half of either family: the well-known ones, then evenly over its list, as ``seed`` shifts.

    The order takes turns, so that the first half of a study is a study.
    """
    chosen = []
    mobiles = min(count // 2, len(MOBILES.shapes))
    for net, many in ((RESNETS, count - mobiles), (MOBILES, mobiles)):
        known = [name for name in net.shapes if name in _WELL_KNOWN][:many]
        others = [name for name in net.shapes if name not in _WELL_KNOWN]
        more = min(many - len(known), len(others))
        start, step = np.random.default_rng(seed).random(), len(others) / max(1, more)
        chosen.append(known + [others[int((i + start) * step)] for i in range(more)])
    longest, other = chosen
    pairs = [name for i, name in enumerate(longest) for name in (name, *other[i : i + 1])]
    return pairs + other[len(longest) :]


def answer_file(out: Path, variant: str, set_name: str) -> Path:
    """Of one network on one set."""
    return out / "answers" / variant / f"{set_name}.json"


def reason_file(out: Path, variant: str, set_name: str) -> Path:
    """Why there is no answer."""
    return out / "failures" / variant / f"{set_name}.txt"


def write_answer(out: Path, row: Row) -> None:
    """Whole, or not at all."""
    replace_file(answer_file(out, row.variant, row.set), json.dumps(asdict(row), indent=1) + "\n")


def gather(out: Path, wanted: Iterable[tuple[str, LabelledSet]], reasons: Mapping[tuple[str, str], str]) -> list[Row]:
    """All answers in ``out``, and a row with a reason for each wanted one that is missing, in an order of their own.

    Args:
        out: the study's folder.
        wanted: networks and sets that were asked for.
        reasons: of this run's failures, by network and set; earlier ones are read.
    """
    rows = {(row.variant, row.set): row for row in map(_read_answer, sorted(out.glob("answers/*/*.json")))}
    for path in out.glob("failures/*/*.txt"):
        key = (path.parent.name, path.stem)
        rows.setdefault(key, Row(variant=key[0], set=key[1], family=family_of(key[0]), reason=path.read_text("utf-8")))
    for name, one in wanted:
        key, before = (name, one.name), rows.get((name, one.name))
        if before is None or before.reason:
            reason = reasons.get(key) or (before.reason if before else "not yet")
            rows[key] = Row(variant=name, set=one.name, family=family_of(name), source=one.source, reason=reason)
    return sorted(rows.values(), key=_order)


def _read_answer(path: Path) -> Row:
    return Row(**json.loads(path.read_text("utf-8")))


def _order(row: Row) -> tuple[str, list[tuple[int, str]], bool, str]:
    """By family, then by name with numbers as numbers; the source before the others."""
    words = re.split(r"(\d+)", row.variant)
    return row.family, [(int(word) if word.isdigit() else -1, word) for word in words], not row.source, row.set


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """As CSV; an empty cell is not known."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(Row)])
    for row in rows:
        writer.writerow(["" if value is None else value for value in asdict(row).values()])
    replace_file(path, text.getvalue())


def read_table(path: Path) -> list[Row]:
    """What ``write_table`` wrote.

    Raises:
        ValueError: it is no such table.
    """
    kinds = {field.name: str(field.type) for field in fields(Row)}
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    if not lines or lines[0].keys() != kinds.keys():
        raise ValueError(f"{path} is no table of a study: its columns are not {', '.join(kinds)}")
    return [Row(**{name: _value(cell, kinds[name]) for name, cell in line.items()}) for line in lines]  # type: ignore[arg-type]


def _value(cell: str, kind: str) -> str | bool | int | float | None:
    if kind == "str":
        return cell
    if kind == "bool":
        return cell == "True"
    if not cell:
        return None
    return int(cell) if kind.startswith("int") else float(cell)
