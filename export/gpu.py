"""The GPU of this machine, as an engine knows it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU.

    Args:
        name: e.g. ``NVIDIA GeForce RTX 4090``.
        compute_capability: e.g. ``sm89``.
        driver: version of its driver, e.g. ``580.95.05``; empty where nobody could tell.
    """

    name: str
    compute_capability: str
    driver: str


def find_gpu() -> Gpu | None:
    """The GPU that torch uses by default, or nothing on a machine without one."""
    if not torch.cuda.is_available():
        return None
    index = torch.cuda.current_device()
    major, minor = torch.cuda.get_device_capability(index)
    return Gpu(name=torch.cuda.get_device_name(index), compute_capability=f"sm{major}{minor}", driver=_driver())


def _driver() -> str:
    """Of all GPUs, as they share one; torch only knows the CUDA version that it supports."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    return said.strip().splitlines()[0].strip() if said.strip() else ""
