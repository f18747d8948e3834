"""Latency tables by device; this machine's own is measured when first needed, and kept under ``ZOO_HOME/devices``.

Where another device has no table at a resolution, the nearest one that it has is scaled, and everybody is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from filelock import FileLock

from hardware_profiles.errors import BadProfile, MissingTable, UnknownDevice
from hardware_profiles.estimate import estimate_ms
from hardware_profiles.fit.price import costs_of
from hardware_profiles.tables.find import TableFile, find_device, keep_table, list_tables
from hardware_profiles.tables.resize import resize_table
from hardware_profiles.types import DeviceProfile, LatencyTable, Scaling, size_text
from search.nets import NETS, Net
from search.nets.heads import CLASSES
from search.nets.whole import all_head_ops
from zoo.devices.fitted import LEAST_PX, builder, priced
from zoo.devices.fitted import find_table as find_table
from zoo.devices.names import DEFAULT_THREADS as DEFAULT_THREADS
from zoo.devices.names import REFERENCE as REFERENCE
from zoo.devices.names import THIS as THIS
from zoo.devices.names import device_id as device_id
from zoo.devices.names import this_device as this_device
from zoo.devices.this_machine import measure_here as measure_here
from zoo.devices.this_machine import spread as spread
from zoo.home import home_folder, own_tables
from zoo.supernets import PHOTO_NETS
from zoo.types import Progress, Say, no_progress, silent

# A table measured on a quiet machine is 1-3 % off; one far above that was measured among other work.
_DOUBTFUL_PERCENT = 10
_SCALED_NETWORKS = 64


@dataclass(frozen=True, kw_only=True)
class Table:
    """A device's latency table, and whether that device is this machine, so that results can be timed here."""

    latencies: LatencyTable
    here: bool


def table_for(
    device: str,
    net: str,
    resolution_px: int,
    *,
    width_px: int | None = None,
    threads: int | None = None,
    classes: int | None = None,
    progress: Progress = no_progress,
    say: Say = silent,
) -> Table:
    """The table of ``device`` for a net at a resolution.

    Args:
        device: ``this``, or the id or alias of a device.
        net: a key of ``search.nets.NETS``.
        resolution_px: side of the input, in pixels.
        width_px: of an input that is not as wide as high.
        threads: of the runtime on this machine.
        classes: of a head that the table must have the blocks of, where it can be measured; None: none is asked for.
        progress: called with (stage, done, all).
        say: receives one line for each thing that happened.

    Raises:
        UnknownDevice: no such device; the three nearest.
        MissingTable: it has none for this net, at any resolution.
        MeasureFailed: this machine could not be measured.
    """
    here = this_device(threads)
    if device in (THIS, here.id):
        own = _own_table(here, net, (resolution_px, width_px), classes, progress=progress, say=say)
        if own.validation is not None and own.validation.mape_percent > _DOUBTFUL_PERCENT:
            off = f"{own.validation.mape_percent:.0f} % off"
            say(f"that table is {off}: run zoo devices measure when this machine is idle")
        return Table(latencies=own, here=True)
    other = table_of(device, net, resolution_px, width_px)
    say(f"the table of {other.device.id} is {quality(other)}")
    return Table(latencies=other, here=False)


def table_of(device: str, net: str, resolution_px: int, width_px: int | None = None) -> LatencyTable:
    """The table of a device; where it has none at this resolution, the nearest one it has, scaled.

    A scaled table's ``source`` is ``estimated``, and its ``scaling`` holds how far off the same step was on the device
    where it did worst among those with tables at both resolutions.

    Raises:
        UnknownDevice: no such device; the three nearest.
        MissingTable: it has none for this net, at any resolution.
    """
    try:
        return find_table(device, net=net, resolution_px=resolution_px, width_px=width_px, folders=[own_tables()])
    except MissingTable:
        every = [file for file in list_tables([own_tables()]) if file.width_px is None]
        files = [file for file in every if file.net == net]
        own = [file for file in files if file.device_id == find_device(device, every)]
        if net == "mobile-photo" and not own and resolution_px >= LEAST_PX:
            smaller = [file for file in every if (file.device_id, file.net) == (find_device(device, every), "mobile")]
            if smaller:
                largest = max(smaller, key=lambda file: file.resolution_px)
                return _from_small(largest, net, (resolution_px, width_px), every)
        if not own or net not in NETS:
            raise
        side_px = round(np.sqrt(resolution_px * (width_px or resolution_px)))  # of a square with as many pixels
        nearest_file = min(own, key=lambda file: abs(np.log(file.resolution_px / side_px)))
        scaled = resize_table(nearest_file.load(), resolution_px, width_px)
        return replace(scaled, scaling=_scaling(files, NETS[net], nearest_file.resolution_px, resolution_px))


def _from_small(file: TableFile, net: str, size_px: tuple[int, int | None], every: Sequence[TableFile]) -> LatencyTable:
    """The photo net by what the work of the small one's blocks costs; an estimate.

    Its error is the larger one of two: how far off the costs are on those blocks, and on networks of the photo net, or
    of the small one at a larger size, on devices where both tables were measured.
    """
    costs = costs_of(file.load(), builder(file.net))
    assert costs.scaling is not None, "an estimate says what it comes from"
    errors = {file.device_id: costs.scaling.mape_percent or 0.0}
    measured = [one for one in every if one.net in (net, file.net) and one.head().device.source == "measured"]
    for start in (one for one in measured if (one.net, one.resolution_px) == (file.net, file.resolution_px)):
        larger = [
            one for one in measured if one.device_id == start.device_id and one.resolution_px > file.resolution_px
        ]
        if larger:
            end = min(larger, key=lambda one: (one.net != net, abs(np.log(one.resolution_px / size_px[0]))))
            carried = priced(costs_of(start.load(), builder(start.net)), end.net, end.resolution_px)
            errors[start.device_id] = _apart_percent(carried, end.load(), NETS[end.net])
    worst = max(errors, key=lambda device: errors[device])
    scaling = Scaling(from_px=file.resolution_px, mape_percent=round(errors[worst], 1), seen_on=worst)
    return replace(priced(costs, net, *size_px), scaling=scaling)


def shown_by_default(device: str) -> tuple[str, int]:
    """The net and resolution that a device is shown for when nobody says which: 32 px where that was timed."""
    every = list_tables([own_tables()])
    nets = {file.net for file in every if file.device_id == find_device(device, every)}
    return ("mobile", 32) if "mobile" in nets else (PHOTO_NETS[0], 224)


def _scaling(files: Sequence[TableFile], net: Net, from_px: int, to_px: int) -> Scaling:
    """How far off scaling is between two resolutions, judged by the devices whose tables at both were measured."""
    at = {px: {file.device_id: file for file in files if file.resolution_px == px} for px in (from_px, to_px)}
    errors = {}
    for device in sorted(at[from_px].keys() & at[to_px].keys()):
        before, after = at[from_px][device].load(), at[to_px][device].load()
        if before.device.source == after.device.source == "measured":
            errors[device] = _apart_percent(resize_table(before, to_px), after, net)
    worst = max(errors, key=lambda device: errors[device], default=None)
    if worst is None:
        return Scaling(from_px=from_px)
    return Scaling(from_px=from_px, mape_percent=round(errors[worst], 1), seen_on=worst)


def _apart_percent(scaled: LatencyTable, measured: LatencyTable, net: Net) -> float:
    """Mean distance of two tables' estimates."""
    networks = [net.ops(one) for one in spread(net, measured.resolution_px, _SCALED_NETWORKS, seed=0)]
    ratios = [estimate_ms(scaled, ops) / estimate_ms(measured, ops) for ops in networks]
    return 100 * float(np.mean(np.abs(np.array(ratios) - 1)))


def _own_table(
    device: DeviceProfile,
    net: str,
    size_px: tuple[int, int | None],
    classes: int | None,
    *,
    progress: Progress,
    say: Say,
) -> LatencyTable:
    with FileLock(home_folder("devices") / ".measuring.lock"):  # two measurements at once would slow each other down
        if (kept := _kept(device, net, size_px, classes, say)) is not None:
            return kept
        what = f"{net} at {size_text(*size_px)} px"
        say(f"measuring {what} on this machine, once: {device.chip}, {device.threads} thread(s)")
        heads = tuple(dict.fromkeys((classes or CLASSES, CLASSES)))
        table = measure_here(
            net, size_px[0], width_px=size_px[1], threads=device.threads, classes=heads, progress=progress
        )
        path = keep_table(table, own_tables())
    say(f"{quality(table)}: {path}")
    return table


def quality(table: LatencyTable) -> str:
    """Where a table's numbers come from and how well it predicts, on one line."""
    what = f"{table.device.source}, {len(table.entries)} blocks"
    if table.scaling is not None:
        seen = table.scaling
        off = (
            "nobody knows how far off"
            if seen.mape_percent is None
            else f"{seen.mape_percent:g} % off on {seen.seen_on}"
        )
        return f"{what}, scaled from {seen.from_px} px, {off}"
    if table.validation is None:
        return f"{what}, not validated"
    figures = table.validation
    return f"{what}, {figures.networks} unseen networks predicted within {figures.mape_percent:.1f} % on average"


def _kept(
    device: DeviceProfile, net: str, size_px: tuple[int, int | None], classes: int | None, say: Say
) -> LatencyTable | None:
    """The table measured earlier, if there is one and it still holds."""
    try:
        table = find_table(device.id, net=net, resolution_px=size_px[0], width_px=size_px[1], folders=[own_tables()])
    except (UnknownDevice, MissingTable):
        return None
    except BadProfile as error:
        say(f"{error}; measuring again")
        return None
    if table.device.runtime_version != device.runtime_version:
        say(f"the table is of {device.runtime} {table.device.runtime_version}, this is {device.runtime_version}: again")
        return None
    if classes is not None and any(
        key not in table.entries for key in all_head_ops(NETS[net], size_px[0], (classes,), size_px[1])
    ):
        say(f"the table has no heads of {classes} class(es): again, with them")
        return None
    return table
