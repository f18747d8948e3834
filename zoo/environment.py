"""What ``zoo env`` prints: versions, the processor and the folders in use; nothing that must stay private."""

from __future__ import annotations

import platform

from hardware_profiles.probe import probe_device
from zoo.device_names import DEFAULT_THREADS
from zoo.home import zoo_home
from zoo.supernet_names import supernet_folders
from zoo.versions import commit, library_versions, zoo_version


def environment() -> dict[str, str | int | None]:
    """Facts by name."""
    device = probe_device(threads=DEFAULT_THREADS)
    return {
        "subnet-zoo": zoo_version(),
        "commit": commit(),
        "python": platform.python_version(),
        "system": platform.platform(),
        **library_versions(),
        "processor": device.chip,
        "memory GB": round(device.memory_bytes / 1e9),
        "device": device.id,
        "threads": device.threads,
        "cache": str(zoo_home()),
        "supernets": ", ".join(supernet_folders()) or None,
    }
