"""The manifest of a package: size and sha256 of each of its files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from export.types import ExportReport
from zoo.errors import BadPackage, UnknownName
from zoo.names import shown

# What a package may hold: nothing that runs when it is read. Engines hold code for a GPU, so nobody takes a stranger's.
READABLE = (".safetensors", ".json", ".yaml", ".md", ".onnx", ".ort", ".png")
ENGINES = (".engine",)
# No ONNX file can be larger, and no network of the zoo's is near it.
MOST_BYTES = 2 * 10**9

_MOST_FILES = 200  # a package has about ten
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", re.ASCII)
_DEPTH = 3  # Triton's repository is the deepest: model/version/file


@dataclass(frozen=True, kw_only=True)
class Digest:
    """What a file must be."""

    bytes: int
    sha256: str


def describe(folder: Path, files: Iterable[str]) -> dict[str, Digest]:
    """Digests of the files at these relative paths, sorted."""
    return {file: digest_of((folder / file).read_bytes()) for file in sorted(files)}


def digest_of(content: bytes) -> Digest:
    """What ``content`` is."""
    return Digest(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def check_manifest(manifest: Mapping[str, Digest]) -> None:
    """Raise BadPackage for paths that lead out, kinds of files that run, and sizes that fill disks."""
    if len(manifest) > _MOST_FILES:
        raise BadPackage(f"the manifest names {len(manifest)} files; a package has at most {_MOST_FILES}")
    for file, digest in manifest.items():
        check_path(file)
        if not 0 <= digest.bytes <= MOST_BYTES:
            declared, limit = f"{min(digest.bytes, 10**15) / 1e9:g} GB", f"{MOST_BYTES / 1e9:g} GB"
            raise BadPackage(f"{file} declares {declared}; at most {limit} are read: get another package")
    if len({file.casefold() for file in manifest}) != len(manifest):
        raise BadPackage("the manifest names two files that differ only in case; get the package again")


def check_path(file: str) -> None:
    """Raise BadPackage for a path that could leave its package's folder, or that no package holds."""
    parts = file.split("/")
    if len(parts) > _DEPTH or ".." in file or not all(_PART.fullmatch(part) for part in parts):
        raise BadPackage(f"the manifest names {shown(file)}, which is not a path inside the package; get it again")
    if PurePosixPath(file).suffix not in READABLE + ENGINES:
        kinds = ", ".join(READABLE)
        raise BadPackage(f"the manifest names {shown(file)}; a package holds only {kinds}: do not trust this one")


def read_checked(folder: Path, file: str, manifest: Mapping[str, Digest]) -> bytes:
    """The content of a file that is what the manifest says.

    Raises:
        BadPackage: it is missing, truncated or altered.
    """
    if file not in manifest:
        raise BadPackage(f"{folder} has no {shown(file)} in its manifest; get the package again")
    check_path(file)
    path, expected = folder / file, manifest[file]
    try:
        if not path.is_file():  # a pipe or a device would never end
            raise BadPackage(f"{path} cannot be read (no such file); get the package again")
        if (found := path.stat().st_size) != expected.bytes:
            raise BadPackage(f"{path} has {found} bytes, not {expected.bytes}; get the package again")
        content = path.read_bytes()
    except OSError as error:
        raise BadPackage(f"{path} cannot be read ({error.strerror}); get the package again") from None
    if digest_of(content) != expected:
        raise BadPackage(f"{path} is damaged: its sha256 is not the manifest's; get the package again")
    return content


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A choice among artefacts; None takes all.

    Args:
        target: ``point``, ``edge`` or ``cloud``.
        precision: ``fp32``, ``fp16`` or ``int8``.
        device: the id of the device that the artefact's times hold for.
    """

    target: str | None = None
    precision: str | None = None
    device: str | None = None

    def __str__(self) -> str:
        """For people."""
        asked = {"target": self.target, "precision": self.precision, "device": self.device}
        return ", ".join(f"{part} {shown(value)}" for part, value in asked.items() if value is not None) or "all"

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return self == Wanted()

    def among(self, reports: Iterable[ExportReport]) -> tuple[ExportReport, ...]:
        """The reports of the artefacts that are wanted.

        Raises:
            UnknownName: there is none such; those that there are.
        """
        reports = tuple(reports)
        chosen = tuple(report for report in reports if self._wants(report))
        if not chosen:
            there = sorted({f"{r.target.name} {r.target.precision} for {shown(r.device)}" for r in reports})
            raise UnknownName(f"the package has no artefact for {self}; it has {', '.join(there[:6])}")
        return chosen

    def _wants(self, report: ExportReport) -> bool:
        pairs = (
            (self.target, report.target.name),
            (self.precision, report.target.precision),
            (self.device, report.device),
        )
        return all(asked in (None, found) for asked, found in pairs)


ALL = Wanted()


def files_of(artefacts: Iterable[ExportReport], manifest: Iterable[str]) -> set[str]:
    """The artefacts' files and those that stand beside them under the same name, such as an engine's sidecar."""
    stems = {str(PurePosixPath(report.path.as_posix()).with_suffix("")) for report in artefacts}
    return {file for file in manifest if str(PurePosixPath(file).with_suffix("")) in stems}


def is_engine(file: str) -> bool:
    """Whether a file is code for one GPU, which is only ever used where it was built."""
    return PurePosixPath(file).suffix in ENGINES
