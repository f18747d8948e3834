"""The images that a search looks at: the user's folder, or, where none is given, generated ones.

Generated images have the second-order statistics of the supernet's training images where those lie beside it, and are
plain dead leaves where not; the card says which.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from search.images.read import image_files, read_images
from search.images.statistics import load_statistics
from search.images.synthesize import dead_leaves, synthesize
from zoo.types import Images

MAX_IMAGES = 4096  # 128 are scored and 2,048 recalibrate; twice that keeps the memory below 0.7 GB at 224 px
GENERATED = "generated"
# Networks are ranked by which images they find alike; among fewer the ranking is chance.
_LEAST = 16
# As many pixels as 512 images of 32 px, but enough images to compare torch and artefact on.
_MOST, _FEWEST, _PIXELS = 512, 128, 512 * 32 * 32


@dataclass(frozen=True, kw_only=True, eq=False)
class Photos:
    """Pixels uint8 [N, 3, S, S], what the card says of them, and lines about skipped files and what was left out."""

    pixels: Tensor
    about: Images
    skipped: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def read_photos(
    folder: Path | None,
    *,
    size_px: int | tuple[int, int],
    beside: Path,
    letterbox: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Photos:
    """Read at most ``MAX_IMAGES`` images, evenly spread over the folder.

    Args:
        folder: the user's images; None takes generated ones.
        size_px: side of the network's input, in pixels, or its height and width.
        beside: the supernet's folder, where the statistics of its training images may lie.
        letterbox: see whole images, grey around them; else their center squares.
        progress: called with (files done, files in all).

    Raises:
        NotEnoughImages: the folder holds too few that can be read.
        BadSupernet: the statistics are damaged.
    """
    if folder is None:
        return (
            _generated(size_px, beside) if isinstance(size_px, int) else _cut(_generated(max(size_px), beside), size_px)
        )
    images = read_images(
        folder,
        size_px=size_px,
        min_different=_LEAST,
        limit=MAX_IMAGES,
        progress=progress,
        letterbox=letterbox,
    )
    about = Images(count=len(images.pixels), skipped=len(images.skipped), fingerprint=fingerprint(folder))
    skipped = tuple(f"{skip.path}: {skip.reason}" for skip in images.skipped)
    return Photos(pixels=images.pixels, about=about, skipped=skipped, left_out=images.left_out())


def fingerprint(folder: Path) -> str:
    """sha256 over the relative path and the content of every file that ``read_photos`` reads, links followed."""
    digest = hashlib.sha256()
    for path in image_files(folder, limit=MAX_IMAGES)[0]:
        digest.update(f"{path.relative_to(folder)}\0".encode(errors="replace"))
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "blake2b").digest())
        except OSError:  # the reader leaves it out and says so
            digest.update(b"unreadable")
    return digest.hexdigest()


def _cut(photos: Photos, size_px: tuple[int, int]) -> Photos:
    """Their upper left corners; what was made up has no edges."""
    return replace(photos, pixels=photos.pixels[..., : size_px[0], : size_px[1]].contiguous())


def _generated(size_px: int, beside: Path) -> Photos:
    """Images without a photographer, so that every name has an answer before the user has a folder."""
    count = min(_MOST, max(_FEWEST, _PIXELS // size_px**2))
    statistics = load_statistics(beside)
    if statistics is None:
        pixels, what = dead_leaves(count, size_px, seed=0), f"{count} dead leaves, seed 0"
    else:
        pixels = synthesize(statistics, count, size_px, seed=0)
        of = f"{statistics.images} training images of {beside.name}"
        what = f"{count} dead leaves with the second-order statistics of {of}, seed 0"
    return Photos(pixels=pixels, about=Images(count=count, skipped=0, fingerprint=f"{GENERATED}: {what}"), skipped=())
