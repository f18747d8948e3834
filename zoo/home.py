"""Where the zoo keeps what it made or measured: ``ZOO_HOME``, else the user's cache folder.

packages/   networks made for a name        devices/   latency tables of this machine        supernets/   the user's own
images/     pixels of folders that do not fit in memory
"""

from __future__ import annotations

import os
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from platformdirs import user_cache_dir

from zoo.errors import BadHome


def zoo_home() -> Path:
    """The folder; it may not exist yet. The environment is read at each call.

    Raises:
        BadHome: there is no home folder.
    """
    named = os.environ.get("ZOO_HOME")
    try:
        home = Path(named or user_cache_dir("subnet-zoo", appauthor=False)).expanduser()
    except RuntimeError:  # a container's user without HOME and without a line in the list of users
        raise BadHome("nobody says where your home is; set ZOO_HOME to a folder you can write") from None
    return home.absolute()


def home_folder(name: str) -> Path:
    """``zoo_home() / name``, created.

    Raises:
        BadHome: it cannot be created.
    """
    folder = zoo_home() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadHome(f"cannot create {folder}: {error.strerror}; set ZOO_HOME to a folder you can write") from None
    return folder


def own_tables() -> Path:
    """The folder with the latency tables that were measured or put here; it may not exist yet."""
    return zoo_home() / "devices"


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
