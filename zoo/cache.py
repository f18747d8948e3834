"""The cache: packages that were made for a name, under ``ZOO_HOME/packages``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zoo.card import CONFIG
from zoo.errors import BadPackage
from zoo.home import zoo_home
from zoo.names import Name
from zoo.package import is_package, read_card
from zoo.photos import fingerprint
from zoo.supernets import read_supernet
from zoo.types import ModelCard


@dataclass(frozen=True, kw_only=True)
class Packaged:
    """A package that is here."""

    card: ModelCard
    folder: Path


def cached_packages() -> list[Packaged]:
    """All whole packages in the cache, the newest first."""
    parent = zoo_home() / "packages"
    folders = [path for path in parent.iterdir() if is_package(path)] if parent.is_dir() else []
    packages: list[Packaged] = []
    for folder in sorted(folders, key=lambda path: (path / CONFIG).stat().st_mtime_ns, reverse=True):
        try:
            packages.append(Packaged(card=read_card(folder), folder=folder))
        except BadPackage:
            continue  # damaged, or of another version: as good as absent, it will be made again
    return packages


def find_cached(name: Name, *, images: str | Path | None, supernet: str | None) -> Packaged | None:
    """The newest package of that name, made from these images and this supernet where they are given."""
    from_images = None if images is None else fingerprint(Path(images))
    from_supernet = None if supernet is None else read_supernet(supernet).sha256
    for packaged in cached_packages():
        card = packaged.card
        if (
            card.name == str(name)
            and from_images in (None, card.images.fingerprint)
            and from_supernet in (None, card.recipe.supernet_sha256)
        ):
            return packaged
    return None
