"""The images that a search looks at: the user's folder, or, where none is given, generated ones."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from search.images import SUFFIXES, read_images
from search.leaves import dead_leaves
from zoo.types import Images

MAX_IMAGES = 4096
GENERATED = "generated"
_LEAVES = 512


@dataclass(frozen=True, kw_only=True, eq=False)
class Photos:
    """Pixels uint8 [N, 3, S, S], what the card says of them, and lines about skipped files."""

    pixels: Tensor
    about: Images
    skipped: tuple[str, ...]


def read_photos(folder: Path | None, *, size_px: int, progress: Callable[[int, int], None] | None = None) -> Photos:
    """Read at most ``MAX_IMAGES`` images, evenly spread over the folder.

    Args:
        folder: the user's images; None takes generated ones (``search.leaves``).
        size_px: side of the network's input, in pixels.
        progress: called with (files done, files in all).

    Raises:
        NotEnoughImages: the folder holds too few that can be read.
    """
    if folder is None:
        return _leaves(size_px)
    images = read_images(folder, size_px=size_px, limit=MAX_IMAGES, progress=progress)
    about = Images(count=len(images.pixels), skipped=len(images.skipped), fingerprint=fingerprint(folder))
    skipped = tuple(f"{skip.path}: {skip.reason}" for skip in images.skipped)
    return Photos(pixels=images.pixels, about=about, skipped=skipped)


def fingerprint(folder: Path) -> str:
    """sha256 over relative path, size and time of every image file; changes when the folder does."""
    digest = hashlib.sha256()
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for path in (Path(parent, file) for file in sorted(files) if Path(file).suffix.lower() in SUFFIXES):
            status = path.lstat()
            digest.update(
                f"{path.relative_to(folder)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="replace")
            )
    return digest.hexdigest()


def _leaves(size_px: int) -> Photos:
    """Generated images, so that every name has an answer before the user has a folder; the card says so."""
    about = Images(count=_LEAVES, skipped=0, fingerprint=f"{GENERATED}: {_LEAVES} dead leaves, seed 0")
    return Photos(pixels=dead_leaves(_LEAVES, size_px, seed=0), about=about, skipped=())
