"""Onboard: a latency table of a device that only whole networks were timed on.

sample (which networks to time) · fit (from hundreds of times) · adapt (from 10 to 20, and the tables of known devices)
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware_profiles.errors import BadTimes, MissingTable
from hardware_profiles.estimate import block_ms, estimate_ms, part_ms
from hardware_profiles.fit.adapt import adapt_table, pick_diverse
from hardware_profiles.fit.calibrate import validate
from hardware_profiles.fit.fit import fit_table
from hardware_profiles.measure.models import to_onnx_bytes
from hardware_profiles.replace_file import replace_file
from hardware_profiles.tables.find import find_device, list_tables
from hardware_profiles.types import DeviceProfile, LatencyTable, Validation
from search.nets import NETS, Net
from search.types import Architecture
from zoo.devices.this_machine import net_called, spread
from zoo.devices.times import network_label, read_times
from zoo.home import own_tables

_POOL = 1000  # networks to choose diverse ones from
# Up to here known tables say which networks differ; a fit from scratch has to see every option.
_FEW = 50


def sample_networks(net_name: str, resolution_px: int, count: int, *, seed: int = 0) -> list[Architecture]:
    """Networks that tell the most about a new device, of all sizes.

    Args:
        net_name: a key of ``search.nets.NETS``.
        resolution_px: side of their input.
        count: how many; the first ones of a longer list are not those of a shorter one.
        seed: of the pool that they are picked from.

    Raises:
        UnknownName: no such net.
    """
    net = net_called(net_name)
    pool = list(dict.fromkeys(spread(net, resolution_px, max(_POOL, 5 * count), seed=seed)))
    features = _options(net, pool)
    if count <= _FEW and (known := known_tables(net_name, resolution_px)):
        features = np.column_stack([_estimates(table, net, pool) for table in known])
    return [pool[i] for i in pick_diverse(features, min(count, len(pool)))]


def write_networks(architectures: list[Architecture], folder: Path, *, batch: int = 1) -> list[Path]:
    """Each network as ``net-00.onnx`` and so on in ``folder``, with random weights: for timing, nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i, architecture in enumerate(architectures):
        module = NETS[architecture.net].build(architecture).eval()
        content = to_onnx_bytes(module, (batch, 3, architecture.resolution_px, architecture.resolution_px))
        paths.append(replace_file(folder / f"{network_label(i)}.onnx", content))
    return paths


def fit_device(times: str | Path, net_name: str, resolution_px: int, device: DeviceProfile) -> LatencyTable:
    """A table of ``device`` from the times of hundreds of networks; a fifth of them validates it.

    Raises:
        UnknownName: no such net.
        BadTimes: the file is malformed, or holds too few networks.
    """
    net = net_called(net_name)
    timed = read_times(Path(times), net, resolution_px)
    table = fit_table(
        timed.networks(net),
        timed.latency_ms,
        device=device,
        net=net_name,
        resolution_px=resolution_px,
        measured_at=_now(),
    )
    for key in net.op_keys(resolution_px):
        if key not in table.entries:
            raise BadTimes(f"{times}: no network holds {key}; time some that do: zoo devices sample --net {net_name}")
    return table


def adapt_device(
    times: str | Path, net_name: str, resolution_px: int, *, like: str, device_id: str, chip: str, reference: str
) -> LatencyTable:
    """A table of a new device from the times of 10 to 20 networks and all tables at hand.

    Args:
        times: the CSV.
        net_name: a key of ``search.nets.NETS``.
        resolution_px: side of the networks' input.
        like: a known device; kind, runtime, precision, batch and threads of the new one are taken to be the same.
        device_id: the new device's id; a table that it has already takes no part.
        chip: what it is.
        reference: who timed it, and how.

    Raises:
        UnknownName: no such net.
        UnknownDevice: no device is called ``like``.
        MissingTable: that device has no table of this net at this resolution.
        BadTimes: the file is malformed, or holds fewer than 5 networks.
    """
    net = net_called(net_name)
    timed = read_times(Path(times), net, resolution_px)
    known = [table for table in known_tables(net_name, resolution_px) if table.device.id != device_id]
    like_id = find_device(like, list_tables([own_tables()]))
    model = next((table.device for table in known if table.device.id == like_id), None)
    if model is None:
        raise MissingTable(like_id, net_name, resolution_px, [])
    device = replace(
        model,
        id=device_id,
        chip=chip,
        memory_bytes=0,
        runtime_version="",
        reference=reference,
        license=", ".join(sorted({table.device.license for table in known})),
    )
    return adapt_table(known, timed.networks(net), timed.latency_ms, device=device, measured_at=_now())


def validate_table(table: LatencyTable, times: str | Path | None) -> Validation | None:
    """Check that no block of its net is missing, and how well it predicts the networks in ``times``.

    Returns:
        The figures on those networks; without ``times`` those that the table holds.

    Raises:
        UnknownName: no net is called as the table's.
        MissingOp: a block that the table lacks.
        BadTimes: the file is malformed.
    """
    net = net_called(table.net)
    block_ms(table, net.op_keys(table.resolution_px))
    if times is None:
        return table.validation
    timed = read_times(Path(times), net, table.resolution_px)
    predicted_ms = np.array([estimate_ms(table, ops) for ops in timed.networks(net)])
    return validate(predicted_ms, np.array(timed.latency_ms))


def known_tables(net_name: str, resolution_px: int) -> list[LatencyTable]:
    """All tables at hand of a net at a resolution that are no estimates themselves."""
    files = [f for f in list_tables([own_tables()]) if (f.net, f.resolution_px) == (net_name, resolution_px)]
    return [file.load() for file in files if file.head().device.source != "estimated"]


def _estimates(table: LatencyTable, net: Net, architectures: list[Architecture]) -> NDArray[np.float64]:
    """Milliseconds of each network, [N]: the sum of its parts' times."""
    rows = net.encode(architectures)
    total_ms = np.full(len(rows), table.overhead_ms)
    for part in net.parts(table.resolution_px):
        shape = [len(net.space[i].options) for i in part.choices]
        at = np.ravel_multi_index(tuple(rows[:, list(part.choices)].T), shape) if shape else 0
        total_ms += part_ms(table, part.ops)[at]
    return total_ms


def _options(net: Net, architectures: list[Architecture]) -> NDArray[np.float64]:
    """Each option of each choice as 0 or 1, [N, options]."""
    rows = net.encode(architectures)
    return np.hstack([np.eye(len(choice.options))[rows[:, i]] for i, choice in enumerate(net.space)])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
