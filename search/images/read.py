"""A folder of images as one tensor of pixels.

What every image goes through: EXIF orientation applied; 16-bit grey scaled so that 65535 is white; palette, grey and
CMYK converted to RGB; transparency composited on white; the shorter side resized to ``size_px`` (bilinear,
antialiased) and the center cropped. An image whose sides are ``size_px`` already keeps its pixels, bit for bit.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from search.errors import NotEnoughImages

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
MIN_SIDE_PX = 8
_MAX_THREADS = 16  # each may hold a picture of half a gigabyte
# Only these decoders may touch a stranger's file, whatever its name says.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
_SIXTEEN_BIT_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A file that was left out, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """Images that were read.

    Args:
        pixels: uint8 RGB ``[N, 3, size_px, size_px]``; row ``i`` is ``paths[i]``.
        sides_px: their shorter sides as the files have them, ``[N]``.
        paths: where each came from.
        skipped: the files that were left out.
    """

    pixels: torch.Tensor
    sides_px: NDArray[np.int32]
    paths: tuple[Path, ...]
    skipped: tuple[Skipped, ...]

    def told(self, crop_px: int) -> str:
        """How many there are, for people; those that crops of ``crop_px`` pixels enlarge are counted, too."""
        small = int((self.sides_px < crop_px).sum())
        about = f"{len(self.pixels)} images, {len(self.skipped)} skipped"
        return f"{about}, {small} enlarged, for they have fewer than {crop_px} px a side" if small else about


def read_images(
    folder: Path,
    *,
    size_px: int,
    min_images: int = 64,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ImageSet:
    """Read every image under a folder, in sorted order.

    Hidden files and folders are ignored, and every real folder is read once, so loops of symbolic links end.

    Args:
        folder: where to look, at any depth.
        size_px: side of the square images that come back, in pixels.
        min_images: fewer usable images than this are an error.
        limit: read at most this many files, evenly spread over the sorted list (so over all its folders).
        progress: called with (files done, files in all) after each file.

    Raises:
        NotEnoughImages: the folder is missing or has fewer than ``min_images`` usable images.

    Example:
        >>> images = read_images(Path("photos"), size_px=64)  # doctest: +SKIP
        >>> images.pixels.shape  # doctest: +SKIP
        torch.Size([812, 3, 64, 64])
    """
    if size_px < 1:
        raise ValueError(f"size_px is {size_px}; it must be at least 1")
    if not folder.is_dir():
        raise NotEnoughImages(f"{folder} is not a folder; name one that holds at least {min_images} images")
    min_images = max(min_images, 1)
    files, skipped = _find(folder)
    if limit is not None and limit < len(files):
        files = [files[i * len(files) // limit] for i in range(limit)]
    pixels = np.empty((len(files), 3, size_px, size_px), dtype=np.uint8)
    sides_px = np.zeros(len(files), dtype=np.int32)
    reasons = _decode_all(files, pixels, sides_px, progress)
    kept = [i for i, reason in enumerate(reasons) if reason is None]
    skipped += [Skipped(path=path, reason=reason) for path, reason in zip(files, reasons, strict=True) if reason]
    if len(kept) < min_images:
        raise NotEnoughImages(_too_few(folder, len(kept), min_images, skipped))
    for row, i in enumerate(kept):  # close the gaps in place: a second array could be the one that does not fit
        if row != i:
            pixels[row] = pixels[i]
    return ImageSet(
        pixels=torch.from_numpy(pixels[: len(kept)]),
        sides_px=sides_px[kept],
        paths=tuple(files[i] for i in kept),
        skipped=tuple(skipped),
    )


def to_square(image: Image.Image, size_px: int) -> NDArray[np.uint8]:
    """What ``read_images`` does to one opened image: upright, RGB, resized, center-cropped.

    Args:
        image: as ``Image.open`` gives it, not decoded yet where possible: a large JPEG is then cheaper.
        size_px: side of the result, in pixels.

    Returns:
        uint8 RGB ``[size_px, size_px, 3]``.
    """
    # A JPEG decodes at 1/2, 1/4 or 1/8 for less work; twice the target leaves the resize its antialiasing.
    image.draft(None, (2 * size_px, 2 * size_px))
    return np.array(_center_square(_to_rgb(ImageOps.exif_transpose(image)), size_px))


def _find(folder: Path) -> tuple[list[Path], list[Skipped]]:
    files: list[Path] = []
    skipped: list[Skipped] = []
    seen: set[str] = set()

    def unlistable(error: OSError) -> None:
        skipped.append(Skipped(path=Path(error.filename), reason=f"cannot list the folder: {error.strerror}"))

    for parent, folders, names in os.walk(folder, followlinks=True, onerror=unlistable):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [Path(parent, name) for name in names if not name.startswith(".") and _has_image_suffix(name)]
    return sorted(files), skipped


def _has_image_suffix(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES


def _decode_all(
    files: list[Path],
    pixels: NDArray[np.uint8],
    sides_px: NDArray[np.int32],
    progress: Callable[[int, int], None] | None,
) -> list[str | None]:
    """Fill ``pixels`` and ``sides_px`` row by row; the reason a file was skipped, or None, for each."""
    reasons: list[str | None] = []
    pool = ThreadPoolExecutor(max_workers=min(_MAX_THREADS, os.cpu_count() or 1))
    with warnings.catch_warnings():  # around the pool, because filters are shared by all threads
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # damaged EXIF or TIFF tags
        try:
            results: Iterable[str | None] = pool.map(_decode_into, files, pixels, sides_px[:, None])
            for reason in results:
                reasons.append(reason)
                if progress is not None:
                    progress(len(reasons), len(files))
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C must not wait for a million files
    return reasons


def _decode_into(path: Path, row: NDArray[np.uint8], side_px: NDArray[np.int32]) -> str | None:
    size_px = row.shape[-1]
    try:
        if not path.is_file():
            return "not a regular file"
        if path.stat().st_size == 0:
            return "empty file"
        with Image.open(path, formats=_FORMATS) as image:
            if min(image.size) < MIN_SIDE_PX:
                return f"{image.width}x{image.height} px; the shorter side must be at least {MIN_SIDE_PX} px"
            if image.mode == "F":
                return "floating-point pixels; save it with 8 or 16 bits"
            side_px[:] = min(image.size)
            row[:] = to_square(image, size_px).transpose(2, 0, 1)
    except UnidentifiedImageError:
        return "not an image"
    except Exception as error:  # decoders fail in many ways on damaged files; none of them may end the run
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    return None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _SIXTEEN_BIT_MODES:
        grey = np.clip(np.asarray(image, dtype=np.int32), 0, 65535)
        return Image.fromarray(((grey + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _center_square(image: Image.Image, size_px: int) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.resize((size_px, size_px), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))


def _too_few(folder: Path, found: int, min_images: int, skipped: list[Skipped]) -> str:
    message = f"{folder} holds {found} usable images; needed are at least {min_images}: add images"
    if skipped:
        first = "; ".join(f"{item.path.name}: {item.reason}" for item in skipped[:3])
        message += f" or mend the {len(skipped)} skipped ({first})"
    return message
