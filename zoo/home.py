"""Where the zoo keeps what it made or measured: ``ZOO_HOME``, else the user's cache folder.

packages/   networks made for a name        devices/   latency tables of this machine        supernets/   the user's own
"""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_dir

from zoo.errors import BadHome


def zoo_home() -> Path:
    """The folder; it may not exist yet. The environment is read at each call."""
    named = os.environ.get("ZOO_HOME")
    return Path(named).expanduser().absolute() if named else Path(user_cache_dir("subnet-zoo", appauthor=False))


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
