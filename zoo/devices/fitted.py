"""Fitted: the table of a net on a device that has a cost model, at any photo size; blocks are priced when asked for.

``find_table`` is that of ``hardware_profiles``, which knows files alone, with these devices in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from hardware_profiles.errors import BadKit, BadProfile, MissingTable, measure_command
from hardware_profiles.estimate import estimate_ms
from hardware_profiles.fit.price import price_table
from hardware_profiles.kit.result import KIT
from hardware_profiles.measure.probe import probe_device
from hardware_profiles.tables.find import find_costs, list_tables, table_name
from hardware_profiles.tables.find import find_table as find_file
from hardware_profiles.types import CostModel, DeviceProfile, LatencyTable, OpKey
from search.nets import NETS
from search.nets.heads import HEAD_KINDS, build_head_op
from search.nets.whole import Framed
from zoo.home import own_tables

# The networks that were timed saw photos; a block on a map of 4 px in a network for 32 px is none of theirs.
LEAST_PX = 96


def find_table(
    name: str, *, net: str, resolution_px: int, width_px: int | None = None, folders: Sequence[Path] = ()
) -> LatencyTable:
    """The table of a net at a resolution on the device called ``name``: from a file, or by the device's cost model.

    ``width_px`` is that of an input that is not as wide as high.

    Raises:
        UnknownDevice: nothing is known of that device.
        MissingTable: it has neither that table nor a cost model, or no photo fits the resolution.
        BadProfile: a file is malformed, lacks a block of the net, or says that networks take no time.
    """
    try:
        return _complete(find_file(name, net=net, resolution_px=resolution_px, width_px=width_px, folders=folders))
    except MissingTable:
        photo = net in NETS and min(resolution_px, width_px or resolution_px) >= LEAST_PX
        if not photo or (model := find_costs(name, folders=folders)) is None:
            raise
        return priced(model, net, resolution_px, width_px)


def priced(model: CostModel, net: str, resolution_px: int, width_px: int | None = None) -> LatencyTable:
    """The table of a net by a cost model; blocks of heads are priced, too, when they are asked for."""
    keys = Framed(NETS[net], width_px).op_keys(resolution_px)
    table = price_table(model, keys, builder(net), net=net, resolution_px=resolution_px)
    return replace(table, width_px=width_px)


def builder(net: str) -> Callable[[OpKey], nn.Module]:
    """What makes the blocks of a net, and those of heads."""
    return lambda key: build_head_op(key) if key.kind in HEAD_KINDS else NETS[net].build_op(key)


def _complete(table: LatencyTable) -> LatencyTable:
    """``table``, whose blocks are all there and whose smallest network takes some time."""
    if table.net not in NETS:
        return table
    net, name = Framed(NETS[table.net], table.width_px), table_name(table)
    missing = [key for key in net.op_keys(table.resolution_px) if key not in table.entries]
    if missing:
        again = measure_command(table.net, table.size_text)
        raise BadProfile(f"{name}: {len(missing)} blocks are missing, {missing[0]} for one; measure again: {again}")
    least_ms = estimate_ms(table, net.ops(net.smallest(table.resolution_px)))
    if least_ms <= 0:
        raise BadProfile(f"{name}: the smallest network takes {least_ms:g} ms; a time is above 0, measure again")
    return table


def refuse_foreign(device: DeviceProfile) -> None:
    """Refuse a kit's result under the id of this machine or of a device known from elsewhere.

    A result names its chip itself, so that a stranger's could answer for this machine.

    Raises:
        BadKit: the id is taken.
    """
    here = probe_device(threads=device.threads, precision=device.precision, batch=device.batch).id
    taken = "this machine" if device.id == here else ""
    for file in list_tables([own_tables()]):
        if file.device_id == device.id and not taken:
            try:
                reference = file.head().device.reference
            except BadProfile:
                continue  # a damaged file speaks for nobody
            if not reference.startswith(KIT):
                taken = f"a device known from {reference[:80]!r}"
    if taken:
        raise BadKit(f"{device.id!r} is the id of {taken}; take another: zoo devices import --id NAME")
