"""Probe: describe the machine this runs on."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Literal

import psutil

from hardware_profiles.runners import onnxruntime_version
from hardware_profiles.types import DeviceProfile, Kind

# What changes the speed of a convolution by a factor, as Linux names it -> as people do; only the best of a family.
_FLAGS = ({"amx_tile": "amx"}, {"avx512f": "avx512", "avx2": "avx2", "asimd": "neon"}, {"avx512_vnni": "vnni"})


def probe_device(
    *, threads: int, precision: Literal["fp32", "fp16", "int8"] = "fp32", batch: int = 1, kind: Kind | None = None
) -> DeviceProfile:
    """The profile of this machine with ONNX Runtime on its CPU.

    Args:
        threads: that the runtime will use.
        precision: of the models that will run.
        batch: images in one forward pass.
        kind: of device; by default ``cloud`` for an x86 machine and ``edge`` for any other.

    Returns:
        A profile whose id stays the same for the same processor, cores, threads, precision and batch.
    """
    info = _cpuinfo()
    model = info.get("model name") or platform.processor() or platform.machine() or "unknown processor"
    chip = ", ".join([" ".join(model.split()), f"{_cores()} cores", *_flags(info)])
    used = [f"t{threads}", precision, *([f"b{batch}"] if batch != 1 else [])]
    return DeviceProfile(
        id=_slug(" ".join([chip, *used])),
        kind=kind or ("cloud" if platform.machine().lower() in ("x86_64", "amd64") else "edge"),
        chip=chip,
        memory_bytes=psutil.virtual_memory().total,
        runtime="onnxruntime",
        runtime_version=onnxruntime_version(),
        precision=precision,
        batch=batch,
        threads=threads,
        source="measured",
        reference="zoo devices measure",
        license="Apache-2.0",
    )


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


def _flags(info: dict[str, str]) -> list[str]:
    present = set((info.get("flags") or info.get("Features") or "").split())
    families = ([name for flag, name in family.items() if flag in present] for family in _FLAGS)
    return [names[0] for names in families if names]


def _slug(text: str) -> str:
    plain = re.sub(r"\((?:r|tm)\)", "", text.lower())
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
