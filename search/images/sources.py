"""Sources: where images come from - a folder, a text file of paths, tar shards, or a Hugging Face dataset - by number.

Shards are what ``webdataset`` writes: tar files of which each picture is a member. They are not read in their order but
indexed once, so that a step's number decides its images, whatever reads them.
"""

from __future__ import annotations

import tarfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from search.errors import NotEnoughImages
from search.images.read import SUFFIXES, image_files, open_picture

HUB = "hf://"
_PATH_LISTS = (".txt", ".lst")


class Source(ABC):
    """Images in a fixed order."""

    @abstractmethod
    def __len__(self) -> int:
        """How many there are, unusable ones included."""

    @abstractmethod
    def open(self, i: int) -> Image.Image:
        """Open image ``i``; it may not be decoded yet."""

    @abstractmethod
    def name(self, i: int) -> str:
        """Of image ``i``, for people."""

    @property
    @abstractmethod
    def checksum(self) -> int:
        """Of what it holds, as far as that is known without decoding."""


class Files(Source):
    """Files, of which a change of name, size or time makes another source."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)

    def __len__(self) -> int:
        return len(self._paths)

    def open(self, i: int) -> Image.Image:
        """See ``Source``."""
        return open_picture(self._paths[i])

    def name(self, i: int) -> str:
        """See ``Source``."""
        return str(self._paths[i])

    @property
    def checksum(self) -> int:
        """Of names, sizes and times."""
        checksum = 0
        for path in self._paths:
            about = path.stat()
            checksum = zlib.crc32(f"{path}\0{about.st_size}\0{about.st_mtime_ns}\n".encode(), checksum)
        return checksum


class Shards(Source):
    """The pictures in tar files.

    Raises:
        NotEnoughImages: a shard cannot be read to its end.
    """

    def __init__(self, shards: Sequence[Path]) -> None:
        self._members: list[tuple[Path, str, int, int]] = []  # shard, name, offset and size in bytes
        for shard in shards:
            try:
                with tarfile.open(shard, "r:") as tar:
                    members = [m for m in tar if m.isfile() and Path(m.name).suffix.lower() in SUFFIXES]
            except (tarfile.TarError, OSError) as error:
                raise NotEnoughImages(f"{shard} is no tar file, or is cut off ({error}); copy it anew") from None
            end = max((m.offset_data + m.size for m in members), default=0)
            if end > shard.stat().st_size:
                raise NotEnoughImages(f"{shard} is cut off: {shard.stat().st_size} of {end} bytes; copy it anew")
            self._members += [(shard, m.name, m.offset_data, m.size) for m in members]

    def __len__(self) -> int:
        return len(self._members)

    def open(self, i: int) -> Image.Image:
        """See ``Source``."""
        shard, _, offset, size = self._members[i]
        with shard.open("rb") as file:
            file.seek(offset)
            return open_picture(file.read(size))

    def name(self, i: int) -> str:
        """See ``Source``."""
        shard, name, _, _ = self._members[i]
        return f"{shard}:{name}"

    @property
    def checksum(self) -> int:
        """Of names and sizes."""
        return zlib.crc32(repr([(shard.name, *rest) for shard, *rest in self._members]).encode())


class HubDataset(Source):
    """A dataset of the library ``datasets``, which has one column of images.

    Args:
        dataset: with random access.
        name: for people.

    Raises:
        NotEnoughImages: it has no column of images.
    """

    def __init__(self, dataset: Any, name: str) -> None:
        features = dataset.features
        images = [column for column, feature in features.items() if type(feature).__name__ == "Image"]
        if not images:
            raise NotEnoughImages(f"{name} has no column of images ({', '.join(features)}); name another dataset")
        self._column, self._name = images[0], name
        self._dataset = dataset.select_columns([self._column])

    def __len__(self) -> int:
        return len(self._dataset)

    def open(self, i: int) -> Image.Image:
        """See ``Source``."""
        image: Image.Image = self._dataset[i][self._column]
        return image

    def name(self, i: int) -> str:
        """See ``Source``."""
        return f"{self._name}[{i}]"

    @property
    def checksum(self) -> int:
        """The library's fingerprint."""
        return zlib.crc32(f"{self._dataset._fingerprint}\0{len(self)}".encode())


def source_of(text: str | Path) -> Source:
    """A folder of images or of tar shards, one shard, a text file with a path a line, or ``hf://org/name[:split]``.

    Raises:
        NotEnoughImages: it is none of these, or files that are listed do not exist.
        ModuleNotFoundError: a dataset needs the library ``datasets``.
    """
    if str(text).startswith(HUB) or str(text).startswith("hf:/"):  # a Path has lost one of the strokes
        return _from_hub(str(text).removeprefix("hf:").lstrip("/"))
    path = Path(text)
    if path.is_dir():
        shards = sorted(path.glob("*.tar"))
        return Shards(shards) if shards else Files(image_files(path)[0])
    if path.suffix.lower() == ".tar" and path.is_file():
        return Shards([path])
    if path.suffix.lower() in _PATH_LISTS and path.is_file():
        return Files(_listed(path))
    raise NotEnoughImages(f"{path} is no folder, .tar, .txt with a path a line, or {HUB}org/name; name one of these")


def _listed(path: Path) -> list[Path]:
    lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    paths = [path.parent / line for line in lines if line]
    missing = [item for item in paths if not item.is_file()]
    if missing:
        raise NotEnoughImages(
            f"{path} names {len(missing)} of {len(paths)} files that do not exist, first {missing[0]}; paths are"
            f" relative to {path.parent}"
        )
    return paths


def _from_hub(name: str) -> HubDataset:
    from datasets import load_dataset

    repository, _, split = name.partition(":")
    try:
        dataset = load_dataset(repository, split=split or "train")
    except Exception as error:  # it raises whatever its file systems and builders do
        raise NotEnoughImages(f"{HUB}{name} cannot be read: {' '.join(str(error).split())[:200]}") from None
    return HubDataset(dataset, f"{HUB}{name}")
