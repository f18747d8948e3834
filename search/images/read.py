"""A folder of images as one tensor of pixels, and one picture in any form that people have it.

What every picture goes through: EXIF orientation applied; 16-bit grey scaled so that 65535 is white; palette, grey and
CMYK converted to RGB; transparency composited on white; the shorter side resized to ``size_px`` (bilinear,
antialiased) and the center cropped. A picture whose sides are ``size_px`` already keeps its pixels, bit for bit.
Every way in decodes the whole picture: a JPEG decoder's reduced sizes are quicker, and up to 52 grey levels off.
"""

from __future__ import annotations

import io
import math
import os
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from search.errors import NotEnoughImages, NotEnoughMemory

# Files with these suffixes, or with none, are opened; what they are is told by their content.
SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".gif",
        ".avif",
        ".heic",
        ".heif",
    }
)
MIN_SIDE_PX = 8
MOST_PIXELS = 89_478_485  # a quarter of a gigabyte, where Pillow begins to warn
# Photos of 4:3 lose a quarter to the square; what loses less than a twentieth is not worth a sentence.
_NOTABLY_CUT = 0.95
# Around a picture that has not the shape of the input: near the mean of photos, as YOLO has it.
LETTERBOX_GREY = 114
_MAX_THREADS = 16  # each may hold a picture of half a gigabyte
# Only these decoders may touch a stranger's file, whatever its name says.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
# How files of the formats begin, for those without a suffix.
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"BM", b"II*\0", b"MM\0*", b"GIF8")
_TWELVE_BITS, _SIXTEEN_BITS = 4095, 65535
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
        found: files that are or may be images, those included that were not asked for.
        kept_area: mean share of a picture, 0..1, that lies within what was read of it.
    """

    pixels: torch.Tensor
    sides_px: NDArray[np.int32]
    paths: tuple[Path, ...]
    skipped: tuple[Skipped, ...]
    found: int
    kept_area: float

    def left_out(self) -> tuple[str, ...]:
        """Sentences on what nobody will look at: files beyond the limit, and what a center square cuts off."""
        lines = []
        if (read := len(self.pixels) + len(self.skipped)) < self.found:
            lines.append(f"{read:,} of {self.found:,} files were read, evenly spread")
        if self.kept_area < _NOTABLY_CUT:
            cut = 100 * (1 - self.kept_area)
            lines.append(f"the center square of each is looked at: {cut:.0f} % of a picture is cut off on average")
        return tuple(lines)

    def told(self, crop_px: int) -> str:
        """How many there are, for people; those that crops of ``crop_px`` pixels enlarge are counted, too."""
        small = int((self.sides_px < crop_px).sum())
        about = f"{len(self.pixels)} images, {len(self.skipped)} skipped"
        return f"{about}, {small} enlarged, for they have fewer than {crop_px} px a side" if small else about


def read_images(
    folder: Path,
    *,
    size_px: int | tuple[int, int],
    min_images: int = 64,
    min_different: int = 1,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    letterbox: bool = False,
) -> ImageSet:
    """Read every image under a folder, in sorted order.

    Hidden files and folders are ignored, and every real folder is read once, so loops of symbolic links end.

    Args:
        folder: where to look, at any depth.
        size_px: side of the square images that come back, in pixels; height and width where they are letterboxed.
        min_images: fewer usable images than this are an error.
        min_different: so are fewer of them that are no copies of others.
        limit: read at most this many files, evenly spread over the sorted list (so over all its folders).
        progress: called with (files done, files in all) after each file.
        letterbox: put the whole image on grey; the center square is cut out otherwise.

    Raises:
        NotEnoughImages: the folder is missing, or has fewer than ``min_images`` usable images or ``min_different`` that
            differ.
        NotEnoughMemory: they would not fit.

    Example:
        >>> images = read_images(Path("photos"), size_px=64)  # doctest: +SKIP
        >>> images.pixels.shape  # doctest: +SKIP
        torch.Size([812, 3, 64, 64])
    """
    sides_px = (size_px, size_px) if isinstance(size_px, int) else size_px
    if min(sides_px) < 1 or (sides_px[0] != sides_px[1] and not letterbox):
        raise ValueError(f"size_px is {size_px}; it must be at least 1, and one side unless images are letterboxed")
    if not folder.is_dir():
        raise NotEnoughImages(f"{folder} is not a folder; name one that holds at least {min_images} images")
    min_images = max(min_images, 1)
    every, skipped = image_files(folder)
    files = _spread(every, limit)
    require_memory(len(files), sides_px, fix="take fewer with --limit, or smaller ones with --resolution")
    pixels = np.empty((len(files), 3, *sides_px), dtype=np.uint8)
    found_px = np.zeros((len(files), 2), dtype=np.int32)
    reasons = _decode_all(files, pixels, found_px, progress, letterbox=letterbox)
    kept = [i for i, reason in enumerate(reasons) if reason is None]
    skipped += [Skipped(path=path, reason=reason) for path, reason in zip(files, reasons, strict=True) if reason]
    if len(kept) < min_images:
        raise NotEnoughImages(_too_few(folder, len(kept), min_images, skipped))
    for row, i in enumerate(kept):  # close the gaps in place: a second array could be the one that does not fit
        if row != i:
            pixels[row] = pixels[i]
    if min_different > 1 and (found := different(torch.from_numpy(pixels[: len(kept)]))) < min_different:
        raise NotEnoughImages(
            f"{folder}: only {found} of {len(kept)} images are no copies; add others, it takes {min_different}"
        )
    return ImageSet(
        pixels=torch.from_numpy(pixels[: len(kept)]),
        sides_px=found_px[kept].min(axis=1),
        paths=tuple(files[i] for i in kept),
        skipped=tuple(skipped),
        found=len(every),
        kept_area=1.0 if letterbox else float((found_px[kept].min(axis=1) / found_px[kept].max(axis=1)).mean()),
    )


def different(pixels_NCHW: torch.Tensor) -> int:  # noqa: N803
    """How many images, uint8 [N, 3, S, S], are not copies."""
    return len({zlib.crc32(image.contiguous().numpy().data) for image in pixels_NCHW})


@contextmanager
def decoders() -> Iterator[ThreadPoolExecutor]:
    """Threads that decode pictures; nothing is said of damaged EXIF or TIFF tags, or of sizes that are refused.

    Filters of warnings belong to the process: around the pool, for threads that set them undo each other's.
    """
    pool = ThreadPoolExecutor(max_workers=min(_MAX_THREADS, os.cpu_count() or 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C must not wait for a million files


def open_picture(source: str | Path | bytes | BinaryIO) -> Image.Image:
    """Open a file, its bytes or an open file, by the decoders that may touch a stranger's picture.

    Raises:
        UnidentifiedImageError: it is of no format that is read here, or that needs a library.
        OSError: it cannot be read.
    """
    if isinstance(source, str | Path) and Path(source).exists() and not Path(source).is_file():
        raise OSError("not a regular file")  # a pipe or a device would never end
    if find_spec("pillow_heif") is not None:
        from pillow_heif import register_heif_opener  # type: ignore[import-not-found, unused-ignore]

        register_heif_opener()
    formats = (*FORMATS, *(["HEIF"] if "HEIF" in Image.OPEN else []))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged EXIF or TIFF tags, and of sizes that are refused
            return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats)
    except UnidentifiedImageError:
        raise UnidentifiedImageError(_unidentified(source)) from None


def to_square(image: Image.Image, size_px: int) -> NDArray[np.uint8]:
    """What ``read_images`` does to one opened picture, which stays as it is: upright, RGB, resized, center-cropped.

    Args:
        image: of any mode but floating point.
        size_px: side of the result, in pixels.

    Returns:
        uint8 RGB ``[size_px, size_px, 3]``.

    Raises:
        ValueError: as ``upright``.
    """
    return np.array(_center_square(upright(image), size_px))


def upright(image: Image.Image) -> Image.Image:
    """One opened image in RGB, turned as its EXIF says; the one given stays as it is.

    Raises:
        ValueError: it is tiny or huge, or no screen shows its pixels as they were meant: floating point, 12 bits, or
            beyond 16.
    """
    if min(image.size) < MIN_SIDE_PX:
        raise ValueError(f"{image.width}x{image.height} px; the shorter side must be at least {MIN_SIDE_PX} px")
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(
            f"{image.width}x{image.height} px may be a decompression bomb; shrink it to {MOST_PIXELS:,} px"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of damaged EXIF or TIFF tags
        return to_rgb(ImageOps.exif_transpose(image))


def to_letterbox(image: Image.Image, size_px: tuple[int, int]) -> tuple[NDArray[np.uint8], float, tuple[int, int]]:
    """One opened image whole: upright, RGB, resized until it fits, grey around it.

    Args:
        image: it stays as it is.
        size_px: height and width of the result, in pixels.

    Returns:
        uint8 RGB [height, width, 3]; the scale; and where the image begins (x, y). A point x of the upright image is
        at ``x * scale + dx`` of the result.
    """
    height, width = size_px
    whole = upright(image)
    scale = min(width / whole.width, height / whole.height)
    inner = (max(1, round(whole.width * scale)), max(1, round(whole.height * scale)))
    dx, dy = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas = np.full((height, width, 3), LETTERBOX_GREY, np.uint8)
    canvas[dy : dy + inner[1], dx : dx + inner[0]] = np.asarray(whole.resize(inner, Image.Resampling.BILINEAR))
    return canvas, scale, (dx, dy)


def image_files(folder: Path, *, limit: int | None = None) -> tuple[list[Path], list[Skipped]]:
    """The files that ``read_images`` reads of a folder, in their order, and what it cannot look into.

    Args:
        folder: where to look, at any depth.
        limit: at most this many, evenly spread over the sorted list (so over all its folders).
    """
    files, skipped = _find(folder)
    return _spread(files, limit), skipped


def _spread(files: list[Path], limit: int | None) -> list[Path]:
    if limit is None or limit >= len(files):
        return files
    return [files[i * len(files) // limit] for i in range(limit)]


def _find(folder: Path) -> tuple[list[Path], list[Skipped]]:
    skipped: list[Skipped] = []
    return [Path(name) for name in image_names(folder, skipped)], skipped


def image_names(folder: str | Path, skipped: list[Skipped], seen: set[str] | None = None) -> Iterator[str]:
    """The paths of ``image_files``, one after the other: a million of them take as much memory as one.

    Args:
        folder: where to look, at any depth.
        skipped: receives the folders that cannot be looked into.
        seen: real folders that are not looked into again.
    """
    seen = set() if seen is None else seen
    if (real := os.path.realpath(folder)) in seen:
        return
    seen.add(real)
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, os.path.isdir(entry)) for entry in entries if not entry.name.startswith("."))  # noqa: PTH112 - a link to itself is none
    except OSError as error:
        skipped.append(Skipped(path=Path(folder), reason=f"cannot list the folder: {error.strerror}"))
        return
    for name, is_folder in found:
        if is_folder:
            yield from image_names(os.path.join(folder, name), skipped, seen)  # noqa: PTH118 - a Path takes ten times as long
        elif _may_be_image(str(folder), name):
            yield os.path.join(folder, name)  # noqa: PTH118


def require_memory(count: int, sides_px: tuple[int, int], *, fix: str, copies: int = 1) -> None:
    """Refuse images that would not fit: a system that promises more than it has kills whoever uses it.

    Raises:
        NotEnoughMemory: how much is needed and free, and ``fix``.
    """
    needed_bytes, free = copies * count * 3 * math.prod(sides_px), psutil.virtual_memory().available
    if needed_bytes > free:
        needed = f"{count:,} images of {max(sides_px)} px need {needed_bytes / 1e9:.1f} GB of memory"
        raise NotEnoughMemory(f"{needed} and {free / 1e9:.1f} GB are free; {fix}")


def is_image(path: Path) -> bool:
    """Whether a path is a file that may be an image, by its suffix or its beginning, and is not hidden."""
    return not path.name.startswith(".") and path.is_file() and _may_be_image(str(path.parent), path.name)


def _may_be_image(parent: str, name: str) -> bool:
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
    if suffix:
        return suffix in SUFFIXES
    try:
        with Path(parent, name).open("rb") as file:
            return file.read(4).startswith(_BEGINNINGS)
    except OSError:
        return False


def _decode_all(
    files: list[Path],
    pixels: NDArray[np.uint8],
    sides_px: NDArray[np.int32],
    progress: Callable[[int, int], None] | None,
    *,
    letterbox: bool,
) -> list[str | None]:
    """Fill ``pixels`` and ``sides_px`` row by row; the reason a file was skipped, or None, for each."""
    reasons: list[str | None] = []
    with decoders() as pool:
        results: Iterable[str | None] = pool.map(partial(_decode_into, letterbox=letterbox), files, pixels, sides_px)
        for reason in results:
            reasons.append(reason)
            if progress is not None:
                progress(len(reasons), len(files))
    return reasons


def _decode_into(path: Path, row: NDArray[np.uint8], found_px: NDArray[np.int32], *, letterbox: bool) -> str | None:
    height_px, width_px = row.shape[-2:]
    try:
        if not path.is_file():
            return "not a regular file"
        if path.stat().st_size == 0:
            return "empty file"
        with open_picture(path) as image:
            found_px[:] = image.size
            seen = to_letterbox(image, (height_px, width_px))[0] if letterbox else to_square(image, width_px)
            row[:] = seen.transpose(2, 0, 1)
    except Exception as error:  # decoders fail in many ways on damaged files; none of them may end the run
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    return None


def _unidentified(source: object) -> str:
    suffix = Path(source).suffix.lower() if isinstance(source, str | Path) else ""
    if suffix in {".heic", ".heif"}:
        return f"{suffix[1:].upper()} needs a decoder: pip install 'subnet-zoo[heif]', or convert it to JPEG"
    return "AVIF needs a newer Pillow, or convert it to JPEG" if suffix == ".avif" else "not an image"


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of a picture of any mode; errors as ``to_square``."""
    if image.mode == "F":
        raise ValueError("floating-point pixels; save it with 8 or 16 bits")
    if image.mode in _SIXTEEN_BIT_MODES:
        grey = np.asarray(image).astype(np.int64)
        low, high = int(grey.min()), int(grey.max())
        if low < 0 or high > _SIXTEEN_BITS:
            raise ValueError(f"pixels of {low} to {high} are no 16-bit grey; save it with 8 or 16 bits")
        if 0 < high <= _TWELVE_BITS:
            raise ValueError(f"16-bit pixels of at most {high} look like 12 bits; scale it to {_SIXTEEN_BITS}, or to 8")
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
    suffixes = Counter(path.suffix.lower() for path in folder.rglob("[!.]*") if path.suffix and path.is_file())
    if others := [one for one in suffixes.most_common() if one[0] not in SUFFIXES]:
        told = ", ".join(f"{count} {suffix}" for suffix, count in others[:3])
        message += f", or convert them to JPEG or PNG ({told} files are not read)"
    if skipped:
        first = "; ".join(f"{item.path.name}: {item.reason}" for item in skipped[:3])
        message += f" or mend the {len(skipped)} skipped ({first})"
    return message
