"""The cache: packages that were made for a name, under ``ZOO_HOME/packages``."""

from __future__ import annotations

from pathlib import Path

from zoo.errors import BadPackage
from zoo.home import zoo_home
from zoo.names import Name
from zoo.package.card import CONFIG, Packaged, is_package, read_card


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
