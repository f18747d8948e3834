"""Facts: what the files of a package tell, and what the devices' tables say of its network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from hardware_profiles.errors import ProfileError
from hardware_profiles.estimate import block_ms, estimate_ms
from hardware_profiles.tables.find import list_tables
from hardware_profiles.types import LatencyTable, OpKey
from search.nets import NETS
from zoo.errors import BadPackage
from zoo.home import own_tables
from zoo.package.card import read_card, read_manifest
from zoo.package.history import HISTORY, History, read_history
from zoo.package.manifest import read_checked
from zoo.types import ModelCard

EXPORT = "export.json"


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
    """What a block adds to the network's time, in milliseconds; ``place`` counts from the input."""

    place: int
    block: str
    ms: float


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A package, for a page.

    Args:
        folder: as it was named.
        card: what is known of the network.
        params: weights, by the search; None where that was not kept.
        macs: multiply-accumulates of one image, likewise.
        history: of the search.
        devices: the fastest first.
        blocks: on the budget's device, in the order that the data runs.
        overhead_ms: of that device's table, beside the blocks.
        drift: how far calibration images move the channels' means, in standard deviations.
        refused: artefacts that an export refused, a sentence each.
    """

    folder: Path
    card: ModelCard
    params: int | None
    macs: int | None
    history: History | None
    devices: tuple[DeviceTime, ...]
    blocks: tuple[BlockTime, ...]
    overhead_ms: float
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
    tables = _tables(card, ops)
    own = tables.get(card.recipe.device.id)
    return Facts(
        folder=folder,
        card=card,
        params=row.params if row else None,
        macs=row.macs if row else None,
        history=history,
        devices=tuple(sorted((_time(table, ops) for table in tables.values()), key=lambda one: one.predicted_ms)),
        blocks=_blocks(own, ops) if own else (),
        overhead_ms=own.overhead_ms if own else 0.0,
        drift=export.get("drift") if isinstance(export.get("drift"), float) else None,
        refused=tuple(map(str, export.get("refused", ()))),
    )


def _document(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        raise BadPackage(f"{EXPORT} is no JSON; get the package again") from None
    return found if isinstance(found, dict) else {}


def _ops(card: ModelCard) -> Sequence[OpKey]:
    net = NETS.get(card.architecture.net)
    return () if net is None else net.ops(card.architecture)


def _tables(card: ModelCard, ops: Sequence[OpKey]) -> dict[str, LatencyTable]:
    """By device; those that have a time for each block."""
    found = {}
    wanted = card.architecture.net, card.architecture.resolution_px
    for file in list_tables([own_tables()]) if ops else ():
        if (file.net, file.resolution_px) != wanted:
            continue
        try:
            table = file.load()
            estimate_ms(table, ops)
        except ProfileError:
            continue
        found[file.device_id] = table
    return found


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
        BlockTime(place=i, block=str(op), ms=float(ms)) for i, (op, ms) in enumerate(zip(ops, times, strict=True))
    )


def share_by_size(facts: Facts) -> list[tuple[str, float]]:
    """The part of the time, 0..1, that the blocks of each map size take, largest maps first; then the overhead."""
    total = sum(block.ms for block in facts.blocks) + facts.overhead_ms
    if not facts.blocks or total <= 0:
        return []
    groups = groupby(facts.blocks, key=lambda block: block.block.rpartition("@")[2])
    shares = [(size, sum(block.ms for block in blocks) / total) for size, blocks in groups]
    return [*shares, ("overhead", facts.overhead_ms / total)]
