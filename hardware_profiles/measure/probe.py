"""Probe: describe the machine this runs on."""

from __future__ import annotations

import platform
import re

import psutil

from hardware_profiles.measure.processor import processor
from hardware_profiles.runners import onnxruntime_version
from hardware_profiles.types import DeviceProfile, Kind, Precision


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
