"""Facts: what the files of a package tell, and what the devices' tables say of its network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardware_profiles.errors import MissingOp, ProfileError
from hardware_profiles.estimate import block_ms, estimate_ms
from hardware_profiles.plain_text import read_plain_json
from hardware_profiles.tables.find import list_tables
from hardware_profiles.types import LatencyTable, OpKey
from search.nets import NETS
from search.nets.heads import HEAD_KINDS
from search.nets.whole import family_for
from zoo.devices.fitted import find_table
from zoo.errors import BadPackage
from zoo.home import own_tables
from zoo.package.card import read_card, read_manifest
from zoo.package.history import HISTORY, History, read_history
from zoo.package.manifest import read_checked
from zoo.types import ModelCard

EXPORT, CURVE = "export.json", "curve.json"
_NO_METRICS = ("epoch", "loss", "minutes")


@dataclass(frozen=True, kw_only=True)
class DeviceTime:
    """What a device's table says of the network, in milliseconds, and how far off such predictions were."""

    device: str
    chip: str
    source: str
    predicted_ms: float
    error_percent: float | None


@dataclass(frozen=True, kw_only=True)
class BlockTime:
    """What a block adds to the network's time, in milliseconds; ``place`` counts from the input.

    ``part`` is ``backbone`` or ``head``, ``size_px`` the height of the map that the block reads.
    """

    place: int
    block: str
    part: str
    size_px: int
    ms: float


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Of a fine-tuning: the training loss, and the validation score by which the weights were chosen."""

    epoch: int
    loss: float
    metric: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A package, for a page.

    Args:
        folder: as it was named.
        card: what is known of the network.
        params: weights, by the search; None where that was not kept.
        macs: multiply-accumulates of one image, likewise.
        history: of the search.
        devices: the fastest first; by the whole network, its head included.
        without_head: devices whose tables have the backbone's blocks but not the head's, and so no time.
        blocks: on the budget's device, in the order that the data runs, the head's last.
        overhead_ms: of that device's table, beside the blocks.
        epochs: of the fine-tuning; empty where there was none.
        drift: how far calibration images move the channels' means, in standard deviations.
        refused: artefacts that an export refused, a sentence each.
    """

    folder: Path
    card: ModelCard
    params: int | None
    macs: int | None
    history: History | None
    devices: tuple[DeviceTime, ...]
    without_head: tuple[str, ...]
    blocks: tuple[BlockTime, ...]
    overhead_ms: float
    epochs: tuple[Epoch, ...]
    drift: float | None
    refused: tuple[str, ...]


def read_facts(folder: Path) -> Facts:
    """Read all but the weights.

    Raises:
        BadPackage: the folder is no package, or a file of it is damaged.
    """
    card, (_, manifest) = read_card(folder), read_manifest(folder)
    history = read_history(read_checked(folder, HISTORY, manifest)) if HISTORY in manifest else None
    export = _document(read_checked(folder, EXPORT, manifest)) if EXPORT in manifest else {}
    words = " ".join(map(str, card.architecture.choices))
    row = next((row for row in history.front if row.network == words), None) if history else None
    ops = _ops(card)
    tables, without_head = _tables(card, ops)
    own = tables.get(card.recipe.device.id)
    return Facts(
        folder=folder,
        card=card,
        params=row.params if row else None,
        macs=row.macs if row else None,
        history=history,
        devices=tuple(sorted((_time(table, ops) for table in tables.values()), key=lambda one: one.predicted_ms)),
        without_head=without_head,
        blocks=_blocks(own, ops) if own else (),
        overhead_ms=own.overhead_ms if own else 0.0,
        epochs=_epochs(read_checked(folder, CURVE, manifest)) if CURVE in manifest else (),
        drift=export.get("drift") if isinstance(export.get("drift"), float) else None,
        refused=tuple(map(str, export.get("refused", ()))),
    )


def _document(content: bytes) -> dict[str, Any]:
    try:
        found = read_plain_json(content)
    except ValueError:
        raise BadPackage(f"{EXPORT} is no JSON; get the package again") from None
    return found if isinstance(found, dict) else {}


def _epochs(content: bytes) -> tuple[Epoch, ...]:
    """The curve of a fine-tuning; empty where it is of another form, for the page is worth more than the curve."""
    try:
        found = []
        for row in read_plain_json(content)["rows"]:
            metric = next(name for name in row if name not in _NO_METRICS)
            epoch, loss, score = int(row["epoch"]), float(row["loss"]), float(row[metric])
            found.append(Epoch(epoch=epoch, loss=loss, metric=str(metric), score=score))
        return tuple(found)
    except (ValueError, LookupError, TypeError, AttributeError, StopIteration):
        return ()


def _ops(card: ModelCard) -> Sequence[OpKey]:
    """The blocks of the network, a detector's or a segmenter's head included."""
    net = NETS.get(card.architecture.net)
    if net is None:
        return ()
    if card.head is None or card.head.kind == "linear":  # one small matrix, which no table holds
        return net.ops(card.architecture)
    return family_for(net, card.head.task, len(card.head.classes), _width_px(card)).ops(card.architecture)


def _width_px(card: ModelCard) -> int | None:
    height, width = card.preprocess.size_px
    return None if width == height else width


def _tables(card: ModelCard, ops: Sequence[OpKey]) -> tuple[dict[str, LatencyTable], tuple[str, ...]]:
    """Tables by device, of those with a time for each block; and the devices that lack the head's blocks alone."""
    found, without_head = {}, []
    net, px, folders = card.architecture.net, card.architecture.resolution_px, [own_tables()]
    for device in dict.fromkeys(file.device_id for file in list_tables(folders)) if ops else ():
        try:
            table = find_table(device, net=net, resolution_px=px, width_px=_width_px(card), folders=folders)
            estimate_ms(table, ops)
        except MissingOp:
            without_head.append(device)
        except ProfileError:
            pass  # no table of this net at this size, or a damaged one, which `zoo devices list` names
        else:
            found[device] = table
    return found, tuple(without_head)


def _time(table: LatencyTable, ops: Sequence[OpKey]) -> DeviceTime:
    checked = table.validation
    return DeviceTime(
        device=table.device.id,
        chip=table.device.chip,
        source=table.device.source,
        predicted_ms=estimate_ms(table, ops),
        error_percent=None if checked is None else checked.mape_percent,
    )


def _blocks(table: LatencyTable, ops: Sequence[OpKey]) -> tuple[BlockTime, ...]:
    times = block_ms(table, ops)
    return tuple(
        BlockTime(
            place=i,
            block=_named(op),
            part="head" if op.kind in HEAD_KINDS else "backbone",
            size_px=op.height_px,
            ms=float(ms),
        )
        for i, (op, ms) in enumerate(zip(ops, times, strict=True))
    )


def _named(op: OpKey) -> str:
    """``mbconv 16>24 k5 s2 e6 @32``: what is 1 goes without saying."""
    extra = ((f"s{op.stride}", op.stride), (f"e{op.expand}", op.expand), (f"g{op.groups}", op.groups))
    words = " ".join(word for word, value in extra if value != 1)
    kind = "embedding" if op.kind == "head" else op.kind  # a backbone's own end; others call a detector's so
    return " ".join(f"{kind} {op.c_in}>{op.c_out} k{op.kernel} {words} @{op.height_px}".split())


def shares(facts: Facts) -> list[tuple[str, float]]:
    """The part of the predicted time, 0..1, of the backbone's blocks by map size, of the head, and of the overhead."""
    total = sum(block.ms for block in facts.blocks) + facts.overhead_ms
    if not facts.blocks or total <= 0:
        return []
    names = {"head": "the head"}
    groups: dict[str, float] = {}
    for block in facts.blocks:
        name = names.get(block.part, f"blocks on maps of {block.size_px} x {block.size_px}")
        groups[name] = groups.get(name, 0.0) + block.ms / total
    rest = (
        "the rest" if facts.overhead_ms >= 0 else "less than the sum of the blocks, for a whole network runs smoother"
    )
    return [*groups.items(), (rest, facts.overhead_ms / total)]
