"""What the caches hold, and how to make room: packages made for a name, and packages fetched from the Hub.

Latency tables and supernets are never touched: they took a user's hours.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from zoo.cache import cached_packages
from zoo.card import CONFIG
from zoo.folders import discard, is_stale, size_bytes, stale_drafts
from zoo.home import zoo_home
from zoo.hub.cached import CachedRepo, cached_repos, leftovers
from zoo.hub.settings import hub_cache
from zoo.package_folder import is_package


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Something in a cache.

    Args:
        kind: ``made`` for a name, fetched from the ``hub``, ``damaged``, or ``leftover`` of a killed process.
        name: of the network, or ``org/name``; of the file where neither is known.
        folder: where it lies.
        bytes: on the disk.
        used: when it was last written to, in seconds since 1970.
    """

    kind: Literal["made", "hub", "damaged", "leftover"]
    name: str
    folder: Path
    bytes: int
    used: float


def list_cache() -> list[Kept]:
    """All that ``clean`` could remove, the newest first."""
    found = [*_made(), *(_hub(repo) for repo in cached_repos()), *_leftovers()]
    return sorted(found, key=lambda kept: -kept.used)


def clean(pattern: str | None = None, *, dry_run: bool = False) -> list[Kept]:
    """Remove what is damaged or left over, and all packages whose name matches.

    Args:
        pattern: a shell pattern for names, e.g. ``data-*-det-*`` or ``acme/*``; None removes no whole package.
        dry_run: only say what would go.

    Returns:
        What was removed.
    """
    gone = [kept for kept in list_cache() if kept.kind in ("damaged", "leftover") or _matches(kept, pattern)]
    if not dry_run:
        for kept in gone:
            _remove(kept)
    return gone


def _made() -> list[Kept]:
    parent = zoo_home() / "packages"
    names = {packaged.folder: packaged.card.name for packaged in cached_packages()}
    folders = [path for path in parent.iterdir() if is_package(path)] if parent.is_dir() else []
    return [
        Kept(
            kind="made" if folder in names else "damaged",
            name=names.get(folder, folder.name),
            folder=folder,
            bytes=size_bytes(folder),
            used=(folder / CONFIG).stat().st_mtime,
        )
        for folder in folders
        if not folder.name.startswith(".")
    ]


def _hub(repo: CachedRepo) -> Kept:
    return Kept(kind="hub", name=repo.repo, folder=repo.folder, bytes=repo.bytes, used=repo.used)


def _leftovers() -> list[Kept]:
    homes = [zoo_home() / part for part in ("packages", "devices", "supernets")]
    paths = [path for home in homes if home.is_dir() for path in stale_drafts(home)]
    paths += [path for repo in cached_repos() for path in leftovers(repo.folder) if is_stale(path)]
    return [
        Kept(kind="leftover", name=path.name, folder=path, bytes=size_bytes(path), used=path.stat().st_mtime)
        for path in paths
    ]


def _matches(kept: Kept, pattern: str | None) -> bool:
    return pattern is not None and fnmatch.fnmatchcase(kept.name, pattern)


def _remove(kept: Kept) -> None:
    if kept.kind == "hub":
        _remove_repo(kept.name)
    elif kept.folder.is_dir():
        discard(kept.folder)
    else:
        kept.folder.unlink(missing_ok=True)


def _remove_repo(repo_id: str) -> None:
    """Delete all of a repository; commits are named by hashes, and a duplicated repository has the same ones."""
    from huggingface_hub import scan_cache_dir

    cache = scan_cache_dir(hub_cache())
    repos = frozenset(repo for repo in cache.repos if repo.repo_id == repo_id)
    hashes = [revision.commit_hash for repo in repos for revision in repo.revisions]
    replace(cache, repos=repos).delete_revisions(*hashes).execute()
