"""Sources: where images come from - a folder, a text file of paths, tar shards, or a Hugging Face dataset - by number.

Shards are what ``webdataset`` writes: tar files of which each picture is a member. They are not read in their order but
indexed once, so that a step's number decides its images, whatever reads them.
"""

from __future__ import annotations

import io
import itertools
import os
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hardware_profiles.replace_file import replace_file
from search.errors import NotEnoughImages, WriteFailed
from search.images.read import SUFFIXES, image_names, open_picture

HUB = "hf://"
_PATH_LISTS = (".txt", ".lst")


class Source(ABC):
    """Images in a fixed order."""

    @abstractmethod
    def __len__(self) -> int:
        """How many there are, unusable ones included."""

    def items(self) -> Iterator[Any]:
        """What ``open`` takes, one image after the other: their numbers, where they may be asked for in any order."""
        return iter(range(len(self)))

    @abstractmethod
    def open(self, item: Any) -> Image.Image:
        """Open an image; it may not be decoded yet."""

    @abstractmethod
    def name(self, i: int) -> str:
        """Of image ``i``, for people."""

    @property
    @abstractmethod
    def checksum(self) -> int:
        """Of what it holds, as far as that is known without decoding."""


class Names:
    """Texts in one piece: a million paths take 60 MB, where as many Python objects take ten times that."""

    def __init__(self, texts: Iterable[str]) -> None:
        whole, ends = bytearray(), array("q", [0])
        for text in texts:
            whole += os.fsencode(text)
            ends.append(len(whole))
        self.bytes = np.frombuffer(bytes(whole), np.uint8)
        self.ends = np.frombuffer(ends, np.int64)

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, i: int) -> str:
        return os.fsdecode(self.bytes[self.ends[i] : self.ends[i + 1]].tobytes())


class Files(Source):
    """Files, of which a change of name, size or time makes another source."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = Names(paths)

    def __len__(self) -> int:
        return len(self._paths)

    def open(self, item: int) -> Image.Image:
        """See ``Source``."""
        return open_picture(self._paths[item])

    def name(self, i: int) -> str:
        """See ``Source``."""
        return self._paths[i]

    @cached_property
    def checksum(self) -> int:
        """Of names, sizes and times."""
        checksum = 0
        for i in range(len(self)):
            about = os.stat(self._paths[i])  # noqa: PTH116
            checksum = zlib.crc32(
                f"{self._paths[i]}\0{about.st_size}\0{about.st_mtime_ns}\n".encode("utf-8", "replace"), checksum
            )
        return checksum


class Shards(Source):
    """The pictures in tar files.

    Args:
        shards: the files.
        folder: where their index is kept; None reads it anew each time, which takes a minute for a million images.

    Raises:
        NotEnoughImages: a shard cannot be read to its end.
    """

    def __init__(self, shards: Sequence[Path], folder: Path | None = None) -> None:
        self._shards = tuple(shards)
        about = [(str(path.resolve()), (stat := path.stat()).st_size, stat.st_mtime_ns) for path in shards]
        kept = folder / f"shards-{zlib.crc32(repr(about).encode()):08x}.npz" if folder is not None else None
        index = _read_index(kept) if kept is not None and kept.exists() else None
        if index is None:
            index = _index(self._shards)
            if kept is not None:
                _keep_index(index, kept)
        self._names, self._places = Names(()), index["places"]  # [N, 3]: shard, offset and size in bytes
        self._names.bytes, self._names.ends = index["names"], index["ends"]

    def __len__(self) -> int:
        return len(self._places)

    def open(self, item: int) -> Image.Image:
        """See ``Source``."""
        shard, offset, size = self._places[item].tolist()
        with self._shards[shard].open("rb") as file:
            file.seek(offset)
            return open_picture(file.read(size))

    def name(self, i: int) -> str:
        """See ``Source``."""
        return f"{self._shards[self._places[i, 0]]}:{self._names[i]}"

    @property
    def checksum(self) -> int:
        """Of names and sizes."""
        shards = repr([path.name for path in self._shards]).encode()
        return zlib.crc32(self._places.tobytes(), zlib.crc32(self._names.bytes.tobytes(), zlib.crc32(shards)))


Index = dict[str, NDArray[Any]]


def _index(shards: Sequence[Path]) -> Index:
    places = array("q")

    def names() -> Iterator[str]:
        for number, shard in enumerate(shards):
            end = 0
            try:
                with tarfile.open(shard, "r:") as tar:
                    for member in tar:
                        tar.members = []  # type: ignore[attr-defined] # which it would keep all in memory
                        if member.isfile() and Path(member.name).suffix.lower() in SUFFIXES:
                            places.extend((number, member.offset_data, member.size))
                            end = max(end, member.offset_data + member.size)
                            yield member.name
            except (tarfile.TarError, OSError) as error:
                raise NotEnoughImages(f"{shard} is no tar file, or is cut off ({error}); copy it anew") from None
            if end > shard.stat().st_size:
                raise NotEnoughImages(f"{shard} is cut off: {shard.stat().st_size} of {end} bytes; copy it anew")

    found = Names(names())
    return {"places": np.frombuffer(places, np.int64).reshape(-1, 3), "names": found.bytes, "ends": found.ends}


def _keep_index(index: Index, path: Path) -> None:
    whole = io.BytesIO()
    np.savez(whole, allow_pickle=False, **index)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, whole.getbuffer())
    except OSError as error:
        raise WriteFailed(f"{path} cannot be written ({error.strerror}); free some space, or set ZOO_HOME") from error


def _read_index(path: Path) -> Index | None:
    try:
        with np.load(path, allow_pickle=False) as kept:
            return {name: kept[name] for name in ("places", "names", "ends")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # damaged: as if it were not there


class HubDataset(Source):
    """A dataset of the library ``datasets``, which has one column of images.

    Args:
        dataset: with random access, or a stream.
        name: for people.
        count: of a stream.
        mark: of what it holds.

    Raises:
        NotEnoughImages: it has no column of images.
    """

    def __init__(self, dataset: Any, name: str, *, count: int | None = None, mark: str = "") -> None:
        features = dataset.features or {}
        images = [column for column, feature in features.items() if type(feature).__name__ == "Image"]
        if not images:
            raise NotEnoughImages(f"{name} has no column of images ({', '.join(features)}); name another dataset")
        self._column, self._name, self._mark, self._count = images[0], name, mark, count
        # Undecoded: the library's own decoding would let any decoder at a stranger's file.
        encoded = type(features[self._column])(decode=False)
        self._dataset = dataset.select_columns([self._column]).cast_column(self._column, encoded)

    def __len__(self) -> int:
        return len(self._dataset) if self._count is None else self._count

    def items(self) -> Iterator[Any]:
        """See ``Source``; of a stream, what it holds in its order."""
        if self._count is None:
            return super().items()
        return itertools.islice((row[self._column] for row in self._dataset), self._count)

    def open(self, item: Any) -> Image.Image:
        """See ``Source``."""
        found = item if self._count is not None else self._dataset[item][self._column]
        if found["bytes"] is not None:
            return open_picture(found["bytes"])
        from datasets.utils.file_utils import xopen

        with xopen(found["path"], "rb") as file:
            return open_picture(file.read())

    def name(self, i: int) -> str:
        """See ``Source``."""
        return f"{self._name}[{i}]"

    @property
    def checksum(self) -> int:
        """Of what the library knows of its files."""
        return zlib.crc32(f"{self._mark}\0{len(self)}".encode())


def source_of(text: str | Path, *, folder: Path | None = None, stream: bool = False) -> Source:
    """A folder of images or of tar shards, one shard, a text file with a path a line, or ``hf://org/name[:split]``.

    Args:
        text: one of these.
        folder: where the index of shards is kept.
        stream: the images are taken once, in their order: a dataset is then not copied to the disk first, if it says
            how many images it has.

    Raises:
        NotEnoughImages: it is none of these, or files that are listed do not exist.
        ModuleNotFoundError: a dataset needs the library ``datasets``.
    """
    for prefix in (HUB, HUB[:-1]):  # a Path has lost one of the strokes
        if str(text).startswith(prefix):
            return _from_hub(str(text).removeprefix(prefix), stream=stream)
    path = Path(text)
    if path.is_dir():
        shards = sorted(path.glob("*.tar"))
        return Shards(shards, folder) if shards else Files(image_names(path, []))
    if path.suffix.lower() == ".tar" and path.is_file():
        return Shards([path], folder)
    if path.suffix.lower() in _PATH_LISTS and path.is_file():
        return Files(map(str, _listed(path)))
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


def _from_hub(name: str, *, stream: bool) -> HubDataset:
    from datasets import load_dataset_builder

    repository, _, split = name.partition(":")
    split = split or "train"
    try:
        builder = load_dataset_builder(repository)
        known = (builder.info.splits or {}).get(split)
        count = known.num_examples if known is not None else None
        if stream and count:
            return HubDataset(builder.as_streaming_dataset(split), f"{HUB}{name}", count=count, mark=builder.cache_dir)
        builder.download_and_prepare()
        return HubDataset(builder.as_dataset(split), f"{HUB}{name}", mark=builder.cache_dir)
    except (NotEnoughImages, ModuleNotFoundError):
        raise
    except Exception as error:  # it raises whatever its file systems and builders do
        raise NotEnoughImages(f"{HUB}{name} cannot be read: {' '.join(str(error).split())[:200]}") from None
