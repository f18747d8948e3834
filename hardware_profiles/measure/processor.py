"""Processor: what this machine computes with, as Linux tells it; elsewhere Python's few words."""

from __future__ import annotations

import platform
from pathlib import Path

import psutil

# What changes the speed of a convolution by a factor, as Linux names it -> as people do; only the best of a family.
_FLAGS = ({"amx_tile": "amx"}, {"avx512f": "avx512", "avx2": "avx2", "asimd": "neon"}, {"avx512_vnni": "vnni"})


def cpu_flags() -> set[str]:
    """What the processor can do, as Linux names it; nothing elsewhere."""
    info = _cpuinfo()
    return set((info.get("flags") or info.get("Features") or "").split())


def processor() -> str:
    """Its model, how many cores this process may use, and what speeds convolutions up: ``AMD EPYC, 2 cores, avx2``."""
    info = _cpuinfo()
    model = info.get("model name") or platform.processor() or platform.machine() or "unknown processor"
    return ", ".join([" ".join(model.split()), f"{_cores()} cores", *_flags(cpu_flags())])


def _cpuinfo(path: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """The first processor's lines of Linux's description; nothing elsewhere."""
    try:
        lines = path.read_text("utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _cores() -> int:
    """How many this process may use; Linux alone can tell."""
    return len(psutil.Process().cpu_affinity() or [0]) if psutil.LINUX else psutil.cpu_count() or 1


def _flags(present: set[str]) -> list[str]:
    families = ([name for flag, name in family.items() if flag in present] for family in _FLAGS)
    return [names[0] for names in families if names]
