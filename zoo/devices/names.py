"""What a device may be called: its id, an alias, or ``this``."""

from __future__ import annotations

from hardware_profiles.measure.probe import probe_device
from hardware_profiles.tables.find import find_device, list_tables
from hardware_profiles.types import DeviceProfile
from zoo.home import own_tables

THIS = "this"
# The device of a name that has none and is in no catalogue.
REFERENCE = THIS
# One thread is what small devices give, and what repeats best on large ones.
DEFAULT_THREADS = 1


def this_device(threads: int | None = None) -> DeviceProfile:
    """The profile of this machine."""
    return probe_device(threads=threads or DEFAULT_THREADS)


def device_id(device: str) -> str:
    """The id of a device by its id, its alias or ``this``.

    Raises:
        UnknownDevice: no table is of that device, and it is not this machine.
    """
    here = this_device().id
    return here if device in (THIS, here) else find_device(device, list_tables([own_tables()]))
