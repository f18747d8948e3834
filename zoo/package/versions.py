"""Versions of this package and of what it stands on, and the commit of a checkout."""

from __future__ import annotations

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

DISTRIBUTION = "subnet-zoo"
LIBRARIES = ("torch", "torchvision", "numpy", "onnx", "onnxruntime", "onnxslim", "nni", "pytorch-lightning")


def zoo_version() -> str:
    """The installed version; ``0+unknown`` when the folder is used without being installed."""
    return _version(DISTRIBUTION) or "0+unknown"


def library_versions() -> dict[str, str | None]:
    """Installed versions by distribution; None where it is missing."""
    return {name: _version(name) for name in LIBRARIES}


def commit() -> str | None:
    """The commit of the checkout that this code runs from; None outside of one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
