"""Latency tables by device name: list what there is, show one, measure this machine.

names · this_machine (measure) · tables (find, or measure) · times, onboard (a table from times of whole networks) ·
public, fitted (cost models from published times, and their tables)
"""

# ruff: noqa: F401 - __getattr__ offers what is imported here for type checkers.

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hardware_profiles.tables.find import list_tables as list
    from zoo.devices.onboard import adapt_device as adapt
    from zoo.devices.onboard import fit_device as fit
    from zoo.devices.onboard import validate_table as validate
    from zoo.devices.tables import table_of as show
    from zoo.devices.this_machine import measure_here as measure

_WHERE = {
    "adapt": "zoo.devices.onboard.adapt_device",
    "fit": "zoo.devices.onboard.fit_device",
    "list": "hardware_profiles.tables.find.list_tables",
    "measure": "zoo.devices.this_machine.measure_here",
    "show": "zoo.devices.tables.table_of",
    "validate": "zoo.devices.onboard.validate_table",
}


def __getattr__(name: str) -> Any:
    """Import what is behind a name."""
    if name not in _WHERE:
        raise AttributeError(f"module 'zoo.devices' has no attribute {name!r}; it has {', '.join(_WHERE)}")
    from zoo.checks import checked

    module, _, attribute = _WHERE[name].rpartition(".")
    return checked(getattr(importlib.import_module(module), attribute))


def __dir__() -> Sequence[str]:
    """The functions, whatever files have been imported."""
    return sorted(_WHERE)
