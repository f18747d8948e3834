"""Fitted: the table of a net on a device that has a cost model, at any photo size; blocks are priced when asked for.

``find_table`` is that of ``hardware_profiles``, which knows files alone, with these devices in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hardware_profiles.errors import MissingTable
from hardware_profiles.fit.price import price_table
from hardware_profiles.tables.find import find_costs
from hardware_profiles.tables.find import find_table as find_file
from hardware_profiles.types import LatencyTable
from search.nets import NETS

# The networks that were timed saw photos; a block on a map of 4 px in a network for 32 px is none of theirs.
LEAST_PX = 96


def find_table(name: str, *, net: str, resolution_px: int, folders: Sequence[Path] = ()) -> LatencyTable:
    """The table of a net at a resolution on the device called ``name``: from a file, or by the device's cost model.

    Raises:
        UnknownDevice: nothing is known of that device.
        MissingTable: it has neither that table nor a cost model, or no photo fits the resolution.
        BadProfile: a file is malformed.
    """
    try:
        return find_file(name, net=net, resolution_px=resolution_px, folders=folders)
    except MissingTable:
        model = find_costs(name, folders=folders) if net in NETS and resolution_px >= LEAST_PX else None
        if model is None:
            raise
        family = NETS[net]
        return price_table(model, family.op_keys(resolution_px), family.build_op, net=net, resolution_px=resolution_px)
