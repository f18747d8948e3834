"""The images that a search looks at: the user's folder, or the sample that comes with a supernet."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, uint8

from search.images import SUFFIXES, read_images
from zoo.errors import BadPackage, NeedsImages
from zoo.types import Images

SAMPLE = "calibration.safetensors"
MAX_IMAGES = 4096


@dataclass(frozen=True, kw_only=True, eq=False)
class Photos:
    """Pixels uint8 [N, 3, S, S], what the card says of them, and lines about skipped files."""

    pixels: Tensor
    about: Images
    skipped: tuple[str, ...]


def read_photos(
    folder: Path | None, *, supernet: Path, size_px: int, progress: Callable[[int, int], None] | None = None
) -> Photos:
    """Read at most ``MAX_IMAGES`` images, evenly spread over the folder.

    Args:
        folder: the user's images; None takes the sample of the supernet.
        supernet: the supernet's folder.
        size_px: side of the network's input, in pixels.
        progress: called with (files done, files in all).

    Raises:
        NotEnoughImages: the folder holds too few that can be read.
        NeedsImages: no folder was given, and the supernet has no sample.
    """
    if folder is None:
        return _sample(supernet / SAMPLE, size_px)
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


def _sample(path: Path, size_px: int) -> Photos:
    if not path.is_file():
        raise NeedsImages(
            f"the supernet {path.parent.name} comes without images to search on; give a folder of yours:"
            " --images DIR, or images=DIR in Python"
        )
    try:
        pixels = load_file(path)["pixels"]
    except (SafetensorError, KeyError) as error:
        raise BadPackage(
            f"{path} holds no pixels ({error}); install the supernet again, or give --images DIR"
        ) from None
    if pixels.dtype != uint8 or pixels.ndim != 4 or pixels.shape[1:] != (3, size_px, size_px):
        raise NeedsImages(
            f"{path} holds {pixels.dtype} {list(pixels.shape)}, not uint8 [N, 3, {size_px}, {size_px}];"
            " give --images DIR"
        )
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    return Photos(pixels=pixels, about=Images(count=len(pixels), skipped=0, fingerprint=content), skipped=())
