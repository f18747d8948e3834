"""Cached: the packages in the cache that all users of the Hub share. Other people's models are not looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zoo.card import CONFIG, MOST_CONFIG_BYTES, read_config
from zoo.errors import BadPackage
from zoo.hub.settings import hub_cache

_PREFIX = "models--"


@dataclass(frozen=True, kw_only=True)
class CachedRepo:
    """A repository in the cache in which at least one commit is a package.

    Args:
        repo: ``org/name``.
        name: of the network.
        folder: of the repository in the cache.
        commits: whole hashes of the commits that are here, or parts of them.
        bytes: on the disk.
        used: when a file of it last arrived, in seconds since 1970.
    """

    repo: str
    name: str
    folder: Path
    commits: tuple[str, ...]
    bytes: int
    used: float


def cached_repos() -> list[CachedRepo]:
    """All of them, by name; nothing is asked of the Hub."""
    parent = hub_cache()
    folders = sorted(parent.glob(f"{_PREFIX}*--*")) if parent.is_dir() else []
    return [found for folder in folders if (found := _cached_repo(folder)) is not None]


def leftovers(folder: Path) -> Iterator[Path]:
    """What killed downloads left in a repository's folder, or are still writing."""
    yield from sorted(folder.glob("blobs/*.incomplete"))


def _cached_repo(folder: Path) -> CachedRepo | None:
    names = [name for config in sorted(folder.glob(f"snapshots/*/{CONFIG}")) if (name := _name(config)) is not None]
    if not names:
        return None
    blobs = [path.stat() for path in (folder / "blobs").iterdir() if path.is_file()]
    return CachedRepo(
        repo=folder.name.removeprefix(_PREFIX).replace("--", "/"),
        name=names[-1],
        folder=folder,
        commits=tuple(path.name for path in sorted((folder / "snapshots").iterdir())),
        bytes=sum(about.st_size for about in blobs),
        used=max((about.st_mtime for about in blobs), default=folder.stat().st_mtime),
    )


def _name(config: Path) -> str | None:
    """The name in a package's config; None where it is another's."""
    try:
        if config.stat().st_size > MOST_CONFIG_BYTES:
            return None
        return read_config(config.read_bytes().decode())[0].name
    except (BadPackage, OSError, UnicodeDecodeError):
        return None
