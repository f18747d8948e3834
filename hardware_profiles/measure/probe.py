"""Probe: describe the machine this runs on."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import psutil

from hardware_profiles.runners import onnxruntime_version
from hardware_profiles.types import DeviceProfile, Kind, Precision

# What changes the speed of a convolution by a factor, as Linux names it -> as people do; only the best of a family.
_FLAGS = ({"amx_tile": "amx"}, {"avx512f": "avx512", "avx2": "avx2", "asimd": "neon"}, {"avx512_vnni": "vnni"})


def probe_device(
    *,
    threads: int,
    precision: Precision = "fp32",
    batch: int = 1,
    kind: Kind | None = None,
    runtime: str = "onnxruntime",
) -> DeviceProfile:
    """The profile of this machine.

    Args:
        threads: that the runtime will use.
        precision: of the models that will run.
        batch: images in one forward pass.
        kind: of device; by default ``cloud`` for an x86 machine or a GPU and ``edge`` for any other.
        runtime: a name of ``runtimes``; ONNX Runtime on the CPU is described without loading any of them.

    Returns:
        A profile whose id stays the same for the same chip, runtime, threads, precision and batch.

    Raises:
        MissingRuntime: it is not installed, or does not compute in ``precision`` here.
    """
    chip, memory_bytes, version, gpu = processor(), psutil.virtual_memory().total, onnxruntime_version(), False
    if runtime != "onnxruntime":
        from hardware_profiles.measure.runtimes import find_runtime, gpu_chip

        found = find_runtime(runtime, precision=precision)
        version, gpu = found.version, found.gpu
        if gpu:
            chip, memory_bytes = gpu_chip() or (chip, memory_bytes)
    used = [*([runtime] if runtime != "onnxruntime" else []), *([] if gpu else [f"t{threads}"]), precision]
    return DeviceProfile(
        id=slug(" ".join([chip, *used, *([f"b{batch}"] if batch != 1 else [])])),
        kind=kind or ("cloud" if gpu or platform.machine().lower() in ("x86_64", "amd64") else "edge"),
        chip=chip,
        memory_bytes=memory_bytes,
        runtime=runtime,
        runtime_version=version,
        precision=precision,
        batch=batch,
        threads=threads,
        source="measured",
        reference="zoo devices measure",
        license="Apache-2.0",
    )


def slug(text: str) -> str:
    """``text`` as a device's id: lower case, words joined by hyphens."""
    plain = re.sub(r"\((?:r|tm)\)", "", text.lower())
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


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
