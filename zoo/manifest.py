"""The manifest of a package: size and sha256 of each of its files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from zoo.errors import BadPackage
from zoo.names import shown


@dataclass(frozen=True, kw_only=True)
class Digest:
    """What a file must be."""

    bytes: int
    sha256: str


def describe(folder: Path, files: Iterable[str]) -> dict[str, Digest]:
    """Digests of the files at these relative paths, sorted."""
    return {file: _digest((folder / file).read_bytes()) for file in sorted(files)}


def check_path(file: str) -> None:
    """Raise BadPackage for a path that could leave its package's folder."""
    path = PurePosixPath(file)
    if path.is_absolute() or not path.parts or ".." in path.parts or any(c in file for c in "\\:\0"):
        raise BadPackage(f"the manifest names {shown(file)}, which is not a path inside the package; get it again")


def read_checked(folder: Path, file: str, manifest: Mapping[str, Digest]) -> bytes:
    """The content of a file that is what the manifest says.

    Raises:
        BadPackage: it is missing, truncated or altered.
    """
    if file not in manifest:
        raise BadPackage(f"{folder} has no {file} in its manifest; get the package again")
    check_path(file)
    try:
        content = (folder / file).read_bytes()
    except OSError as error:
        raise BadPackage(f"{folder / file} cannot be read ({error.strerror}); get the package again") from None
    expected = manifest[file]
    if len(content) != expected.bytes:
        raise BadPackage(f"{folder / file} has {len(content)} bytes, not {expected.bytes}; get the package again")
    if _digest(content) != expected:
        raise BadPackage(f"{folder / file} is damaged: its sha256 is not the manifest's; get the package again")
    return content


def _digest(content: bytes) -> Digest:
    return Digest(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
