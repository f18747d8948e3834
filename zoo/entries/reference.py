"""The catalogue's reference device: this machine, measured once and shipped under a name of its own.

Its id is not what ``probe_device`` gives, so that a machine like it is still measured rather than believed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hardware_profiles.devices import BUNDLED, keep_table
from zoo.entries.wanted import REFERENCE_DEVICE, REFERENCE_TABLES
from zoo.measuring import measure_here
from zoo.progress import Progress, Say
from zoo.tables import quality

_NETWORKS = 100


def measure_reference(*, force: bool, progress: Progress, say: Say, folder: Path = BUNDLED) -> list[Path]:
    """Measure this machine for every net and resolution of the catalogue, and keep the tables in ``folder``.

    Args:
        force: measure although other work runs here.
        progress: called with (stage, done, all).
        say: receives one line a table.
        folder: where the tables go.

    Raises:
        NoisyMachine: other work runs here, and not ``force``.
    """
    paths = []
    for net, size_px in REFERENCE_TABLES:
        table = measure_here(net, size_px, force=force, validate_on=_NETWORKS, progress=progress)
        device = replace(table.device, id=REFERENCE_DEVICE, reference="python -m zoo.entries --measure")
        table = replace(table, device=device)
        paths.append(keep_table(table, folder))
        say(f"{paths[-1].name}: {quality(table)}")
    return paths
