"""Feed: the images of a source as a training takes them, in memory where they fit, else from a file, else from anew."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from torch import Tensor

from search.errors import NotEnoughImages
from search.images.read import read_images, require_memory
from search.images.sources import Files, source_of
from search.images.stored import Decoded, Stored, in_memory, store, usable
from search.types import Cache

Pixels = Tensor | Stored | Decoded
_SHARE = 0.5  # of the free memory, or disk, that images may take unasked


@dataclass(frozen=True, kw_only=True, eq=False)
class Feed:
    """Images to train on, and a line that tells of them."""

    pixels: Pixels
    told: str


def feed(
    images: str | Path,
    *,
    size_px: int,
    crop_px: int,
    cache: Cache = "auto",
    folder: Path,
    processes: int = 1,
    min_images: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Feed:
    """The images of what ``search.images.sources.source_of`` understands.

    Args:
        images: where they are.
        size_px: side of the squares.
        crop_px: smaller images than this are counted.
        cache: where they are kept; ``auto`` is memory, a file or nowhere, the first in whose free half they fit.
        folder: of the files.
        processes: of this machine that want them, each in its own memory.
        min_images: fewer are an error.
        progress: called with (images done, images in all).

    Raises:
        NotEnoughImages: too few can be used, or the source cannot be read.
        WriteFailed: no space for the file.
    """
    if not Path(images).exists() and not str(images).startswith("hf:"):
        raise NotEnoughImages(f"{images} is not a folder; name one that holds at least {min_images} images")
    source = source_of(images, folder=folder, stream=cache != "none")
    size_bytes = len(source) * 3 * size_px**2
    if cache == "auto":
        cache = _where(size_bytes * processes, size_bytes, folder)
        if cache == "none":  # which asks for images in any order, as no stream gives them
            source = source_of(images, folder=folder)
    if cache == "ram":
        require_memory(len(source), (size_px, size_px), copies=processes, fix="keep them on disk with --cache disk")
        if isinstance(source, Files) and Path(images).is_dir():
            read = read_images(Path(images), size_px=size_px, min_images=min_images, progress=progress)
            return Feed(pixels=read.pixels, told=read.told(crop_px))
        pixels: Pixels = in_memory(source, size_px=size_px, progress=progress)
        skipped, where = len(source) - len(pixels), "in memory"
    elif cache == "disk":
        pixels = store(source, folder, size_px=size_px, progress=progress)
        skipped, where = pixels.skipped, f"{size_bytes / 1e9:.1f} GB in {pixels.path.parent}"
    else:
        pixels = usable(source, size_px, folder, progress)
        skipped, where = pixels.skipped, "decoded anew in each step"
    if len(pixels) < min_images:
        raise NotEnoughImages(
            f"{images} holds {len(pixels)} usable images; needed are at least {min_images}: add images"
        )
    return Feed(pixels=pixels, told=f"{len(pixels)} images, {skipped} skipped, {where}")


def take(pixels: Pixels, rows: Sequence[int]) -> Tensor:
    """Images ``rows``, wherever they are kept: uint8 [B, 3, S, S]."""
    return pixels[list(rows)] if isinstance(pixels, Tensor) else pixels.__getitems__(rows)


def checksum(pixels: Pixels) -> int:
    """Of all images."""
    return zlib.crc32(pixels.cpu().contiguous().numpy().data) if isinstance(pixels, Tensor) else pixels.checksum


def _where(in_memory_bytes: int, on_disk_bytes: int, folder: Path) -> Cache:
    if in_memory_bytes <= _SHARE * psutil.virtual_memory().available:
        return "ram"
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return "disk" if on_disk_bytes <= _SHARE * shutil.disk_usage(existing).free else "none"
