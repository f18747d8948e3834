"""The caches: packages made for a name, under ``ZOO_HOME/packages``, and those of the Hub; and how to make room.

Latency tables and supernets are never touched: they took a user's hours.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from zoo.errors import BadPackage
from zoo.home import zoo_home
from zoo.hub.settings import hub_cache
from zoo.names import Name
from zoo.package.card import CONFIG, MOST_CONFIG_BYTES, Packaged, is_package, read_card, read_config
from zoo.package.staging import discard, is_stale, size_bytes, stale_drafts


def cached_packages(name: str = "") -> list[Packaged]:
    """All whole packages in the cache, the newest first; with ``name``, those whose folder begins with it."""
    parent = zoo_home() / "packages"
    folders = [path for path in parent.iterdir() if path.name.startswith(name)] if parent.is_dir() else []
    folders = [path for path in folders if is_package(path)]
    packages: list[Packaged] = []
    for folder in sorted(folders, key=lambda path: (path / CONFIG).stat().st_mtime_ns, reverse=True):
        try:
            packages.append(Packaged(card=read_card(folder), folder=folder))
        except BadPackage:
            continue  # damaged, or of another version: as good as absent, it will be made again
    return packages


def find_cached(name: Name, *, images: str | Path | None, supernet: str | None) -> Packaged | None:
    """The newest package of that name, made from these images and this supernet where they are given."""
    from_images = None if images is None else _images_fingerprint(images)
    from_supernet = None if supernet is None else _supernet_sha256(supernet)
    for packaged in cached_packages(f"{name}-"):
        card = packaged.card
        if (
            card.name == str(name)
            and from_images in (None, card.images.fingerprint)
            and from_supernet in (None, card.recipe.supernet_sha256)
        ):
            return packaged
    return None


# These two need torch, which takes a second to import, and a look into the cache mostly does not.


def _images_fingerprint(images: str | Path) -> str:
    from zoo.make.images import fingerprint

    return fingerprint(Path(images))


def _supernet_sha256(supernet: str) -> str:
    from zoo.supernets import read_supernet

    return read_supernet(supernet).sha256


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
