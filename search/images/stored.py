"""Stored: the pixels of a source in one file, or decoded when a step asks for them, so that they never fill the memory.

The file is read by rows with ``pread``, not mapped: mapped pages would count as this process's memory, all 250 GB of
them where there are 1.3 million images of 256 px.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from hardware_profiles.plain_text import read_plain_json
from hardware_profiles.replace_file import replace_file
from search.errors import TrainingError, WriteFailed
from search.images.read import MIN_SIDE_PX, decoders, to_square
from search.images.sources import Source

PIXELS, ROWS, ABOUT = "pixels.u8", "rows.npy", "about.json"
Progress = Callable[[int, int], None]
T = TypeVar("T")
_WINDOW = 32 * min(16, os.cpu_count() or 1)  # images that are decoded before they are taken
_CHECKED = 32  # rows of a file that is found are compared with their checksums


@dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """Images in a file; as ``pixels[rows]`` they are uint8 [B, 3, S, S].

    Args:
        path: of the file.
        size_px: S.
        checksums: of each image, [N].
        skipped: how many images of the source are not there.
    """

    path: Path
    size_px: int
    checksums: NDArray[np.uint32]
    skipped: int

    def __len__(self) -> int:
        return len(self.checksums)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """As a tensor's."""
        return len(self), 3, self.size_px, self.size_px

    @property
    def checksum(self) -> int:
        """Of all of them."""
        return zlib.crc32(self.checksums.tobytes())

    @property
    def different(self) -> int:
        """How many are not copies."""
        return len(np.unique(self.checksums))

    def __getitems__(self, rows: Sequence[int]) -> Tensor:
        """[B, 3, S, S]; the name is the one that torch's loader asks for."""
        return torch.from_numpy(read_rows(self.path, rows, 3 * self.size_px**2)).view(-1, 3, self.size_px, self.size_px)


@dataclass(frozen=True, kw_only=True, eq=False)
class Decoded:
    """Images that are decoded whenever they are asked for.

    Args:
        source: where they come from.
        rows: numbers of those that can be used, [N].
        size_px: S.
    """

    source: Source
    rows: NDArray[np.int64]
    size_px: int

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """As a tensor's."""
        return len(self), 3, self.size_px, self.size_px

    @property
    def checksum(self) -> int:
        """Of the source and of what of it is used."""
        return zlib.crc32(self.rows.tobytes(), self.source.checksum)

    @property
    def skipped(self) -> int:
        """How many images of the source are not there."""
        return len(self.source) - len(self)

    @property
    def different(self) -> int:
        """Copies cannot be told without decoding all."""
        return len(self)

    def __getitems__(self, rows: Sequence[int]) -> Tensor:
        """[B, 3, S, S]; one that cannot be decoded after all is black."""
        pixels = torch.zeros(len(rows), 3, self.size_px, self.size_px, dtype=torch.uint8)
        for row, i in zip(pixels, rows, strict=True):
            found = decode(self.source, int(self.rows[i]), self.size_px)
            if not isinstance(found, str):
                row.copy_(torch.from_numpy(found))
        return pixels


def read_rows(path: Path, rows: Sequence[int] | NDArray[Any], length_bytes: int) -> NDArray[np.uint8]:
    """Rows of a file in which all are equally long, uint8 [len(rows), length_bytes]."""
    found = np.empty((len(rows), length_bytes), np.uint8)
    file = os.open(path, os.O_RDONLY)
    try:
        for row, i in zip(found, rows, strict=True):
            if os.preadv(file, [row.data], int(i) * length_bytes) != length_bytes:
                raise TrainingError(f"{path} was cut off while it was in use; resume, which makes it anew")
    finally:
        os.close(file)
    return found


def decode(source: Source, item: Any, size_px: int) -> NDArray[np.uint8] | str:
    """An image as ``read_images`` gives it, [3, size_px, size_px]; or why it cannot be used."""
    try:
        with source.open(item) as image:
            return _reason(image) or np.ascontiguousarray(to_square(image, size_px).transpose(2, 0, 1))
    except Exception as error:  # decoders fail in many ways on damaged files; none of them may end the run
        return str(error).splitlines()[0] if str(error) else type(error).__name__


def usable(source: Source, size_px: int, folder: Path, progress: Progress | None = None) -> Decoded:
    """What the files' heads tell is an image; their numbers are kept in ``folder``.

    Raises:
        WriteFailed: the disk is full, for instance.
    """

    def look(i: int) -> bool:
        try:
            with source.open(i) as image:
                return not _reason(image)
        except Exception:
            return False

    kept = folder / f"usable-{source.checksum:08x}-{len(source)}.npy"
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(kept.with_suffix(".lock")):
            if not kept.exists():
                good = [i for i, found in enumerate(_ahead(look, range(len(source)), progress)) if found]
                whole = io.BytesIO()
                np.save(whole, np.array(good, np.int64), allow_pickle=False)
                replace_file(kept, whole.getbuffer())
        return Decoded(source=source, rows=np.load(kept, allow_pickle=False), size_px=size_px)
    except OSError as error:
        raise WriteFailed(f"{kept} cannot be written ({error.strerror}); free some space, or set ZOO_HOME") from error
    except ValueError:  # damaged: as if it were not there
        kept.unlink()
        return usable(source, size_px, folder, progress)


def store(source: Source, folder: Path, *, size_px: int, progress: Progress | None = None) -> Stored:
    """The file of ``source`` in ``folder``, found, checked and used again, or made by the first process that comes.

    Raises:
        WriteFailed: the disk is full, for instance; nothing is left behind.
    """
    place = folder / f"{source.checksum:08x}-{len(source)}-{size_px}px"
    try:
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place / ".lock"):
            if (found := _found(place, size_px)) is not None:
                return found
            return _write(source, place, size_px, progress)
    except OSError as error:
        for name in (PIXELS, ROWS, ABOUT):
            (place / name).unlink(missing_ok=True)
        needed = len(source) * 3 * size_px**2 / 1e9
        raise WriteFailed(
            f"{place} cannot be written ({error.strerror}); free {needed:.2g} GB, set ZOO_HOME to another disk, or"
            " decode images anew in each step with --cache none"
        ) from error


def in_memory(source: Source, *, size_px: int, progress: Progress | None = None) -> Tensor:
    """All usable images, uint8 [N, 3, S, S]."""
    found = [x for x in _decoded(source, size_px, progress) if not isinstance(x, str)]
    return torch.from_numpy(np.stack(found)) if found else torch.empty(0, 3, size_px, size_px, dtype=torch.uint8)


def _write(source: Source, place: Path, size_px: int, progress: Progress | None) -> Stored:
    checksums: list[int] = []
    skipped: list[tuple[str, str]] = []
    with (place / PIXELS).open("wb") as file:
        for i, found in enumerate(_decoded(source, size_px, progress)):
            if isinstance(found, str):
                skipped.append((source.name(i), found))
            else:
                file.write(found.data)
                checksums.append(zlib.crc32(found.data))
    made = Stored(path=place / PIXELS, size_px=size_px, checksums=np.array(checksums, np.uint32), skipped=len(skipped))
    np.save(place / ROWS, made.checksums)
    about = {"size_px": size_px, "images": len(made), "skipped": skipped}
    (place / ABOUT).write_text(json.dumps(about), "utf-8")  # last: it says that all is there
    return made


def _found(place: Path, size_px: int) -> Stored | None:
    try:
        about = read_plain_json((place / ABOUT).read_bytes())
        checksums = np.load(place / ROWS, allow_pickle=False)
        found = Stored(path=place / PIXELS, size_px=size_px, checksums=checksums, skipped=len(about["skipped"]))
        if found.path.stat().st_size != len(found) * 3 * size_px**2:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    rows = {k * len(found) // _CHECKED for k in range(_CHECKED)} if len(found) else set()
    right = all(zlib.crc32(found.__getitems__([i]).numpy().data) == checksums[i] for i in rows)
    return found if right else None


def _reason(image: Image.Image) -> str | None:
    if min(image.size) < MIN_SIDE_PX:
        return f"{image.width}x{image.height} px; the shorter side must be at least {MIN_SIDE_PX} px"
    return "floating-point pixels; save it with 8 or 16 bits" if image.mode == "F" else None


def _decoded(source: Source, size_px: int, progress: Progress | None) -> Iterator[NDArray[np.uint8] | str]:
    return _ahead(lambda item: decode(source, item, size_px), source.items(), progress, len(source))


def _ahead(
    do: Callable[[Any], T], items: Iterable[Any], progress: Progress | None, count: int | None = None
) -> Iterator[T]:
    """``do`` of each item by threads, a bounded number of results ahead."""
    count = len(items) if isinstance(items, Sized) else count
    remaining, done = iter(items), 0
    while window := list(itertools.islice(remaining, _WINDOW)):
        with decoders() as pool:  # closed before anything is handed on: its silence is not the caller's
            results = list(pool.map(do, window))
        for result in results:
            yield result
            done += 1
            if progress is not None:
                progress(done, count or done)
