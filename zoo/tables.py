"""Latency tables by device; this machine's own is measured when first needed, and kept under ``ZOO_HOME/devices``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from filelock import FileLock

from hardware_profiles.devices import find_table, keep_table
from hardware_profiles.errors import BadProfile, MissingTable, UnknownDevice
from hardware_profiles.measure import Network, measure_table
from hardware_profiles.probe import probe_device
from hardware_profiles.types import DeviceProfile, LatencyTable
from search.nets import NETS, Net
from search.types import Architecture
from zoo.errors import UnknownName
from zoo.home import home_folder, zoo_home
from zoo.names import nearest, shown
from zoo.progress import Progress, Say, no_progress, silent

THIS = "this"
# The device of a name without one.
REFERENCE = THIS
# One thread is what small devices give, and what repeats best on large ones.
DEFAULT_THREADS = 1

_CALIBRATED_ON, _VALIDATED_ON = 12, 13
# A table measured on a quiet machine is 1-3 % off; one far above that was measured among other work.
_DOUBTFUL_PERCENT = 10


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
    threads: int | None = None,
    progress: Progress = no_progress,
    say: Say = silent,
) -> Table:
    """The table of ``device`` for a net at a resolution.

    Args:
        device: ``this``, or the id or alias of a device.
        net: a key of ``search.nets.NETS``.
        resolution_px: side of the input, in pixels.
        threads: of the runtime on this machine.
        progress: called with (stage, done, all).
        say: receives one line for each thing that happened.

    Raises:
        UnknownDevice: no such device; the three nearest.
        MissingTable: it has none for this net and resolution.
        MeasureFailed: this machine could not be measured.
    """
    here = this_device(threads)
    if device in (THIS, here.id):
        own = _own_table(here, net, resolution_px, progress=progress, say=say)
        if own.validation is not None and own.validation.mape_percent > _DOUBTFUL_PERCENT:
            off = f"{own.validation.mape_percent:.0f} % off"
            say(f"that table is {off}: run zoo devices measure when this machine is idle")
        return Table(latencies=own, here=True)
    other = find_table(device, net=net, resolution_px=resolution_px, folders=[own_tables()])
    return Table(latencies=other, here=False)


def this_device(threads: int | None = None) -> DeviceProfile:
    """The profile of this machine."""
    return probe_device(threads=threads or DEFAULT_THREADS)


def device_id(device: str) -> str:
    """A device's own id, for ``this``."""
    return this_device().id if device == THIS else device


def measure_here(
    net: str, resolution_px: int, *, threads: int | None, progress: Progress = no_progress, seed: int = 0
) -> LatencyTable:
    """Measure this machine: every block of the net alone, whole networks to calibrate, others to validate.

    Raises:
        UnknownName: no such net.
        MeasureFailed: a block or a network could not be timed.
    """
    if net not in NETS:
        raise UnknownName(f"no net is called {shown(net)}; nearest: {', '.join(nearest(net, NETS))}")
    family, device = NETS[net], this_device(threads)
    networks = [
        Network(
            ops=family.ops(architecture),
            build=partial(family.build, architecture),
            input_nchw=(device.batch, 3, resolution_px, resolution_px),
        )
        for architecture in spread(family, resolution_px, _CALIBRATED_ON + _VALIDATED_ON, seed=seed)
    ]
    return measure_table(
        {key: partial(family.build_op, key) for key in family.op_keys(resolution_px)},
        networks,
        net=net,
        resolution_px=resolution_px,
        device=device,
        calibrate_on=_CALIBRATED_ON,
        seed=seed,
        progress=progress,
    )


def spread(net: Net, resolution_px: int, count: int, *, seed: int) -> list[Architecture]:
    """Random networks of all sizes, in random order; with uniform choices all would be of middling size."""
    rng = np.random.default_rng(seed)
    tops = np.array([len(choice.options) - 1 for choice in net.space])
    levels = rng.permutation(np.linspace(0, 1, count))
    return net.decode(np.stack([rng.binomial(tops, level) for level in levels]), resolution_px)


def own_tables() -> Path:
    """The folder with the tables that were measured or put here."""
    return zoo_home() / "devices"


def _own_table(device: DeviceProfile, net: str, resolution_px: int, *, progress: Progress, say: Say) -> LatencyTable:
    with FileLock(home_folder("devices") / ".measuring.lock"):  # two measurements at once would slow each other down
        if (kept := _kept(device, net, resolution_px, say)) is not None:
            return kept
        say(f"measuring {net} at {resolution_px} px on this machine, once: {device.chip}, {device.threads} thread(s)")
        table = measure_here(net, resolution_px, threads=device.threads, progress=progress)
        path = keep_table(table, own_tables())
    say(f"{quality(table)}: {path}")
    return table


def quality(table: LatencyTable) -> str:
    """How well a table predicts, on one line."""
    if table.validation is None:
        return f"{len(table.entries)} blocks, not validated"
    return (
        f"{len(table.entries)} blocks, {table.validation.networks} unseen networks predicted within"
        f" {table.validation.mape_percent:.1f} % on average"
    )


def _kept(device: DeviceProfile, net: str, resolution_px: int, say: Say) -> LatencyTable | None:
    """The table measured earlier, if there is one and it still holds."""
    try:
        table = find_table(device.id, net=net, resolution_px=resolution_px, folders=[own_tables()])
    except (UnknownDevice, MissingTable):
        return None
    except BadProfile as error:
        say(f"{error}; measuring again")
        return None
    if table.device.runtime_version != device.runtime_version:
        say(f"the table is of {device.runtime} {table.device.runtime_version}, this is {device.runtime_version}: again")
        return None
    return table
