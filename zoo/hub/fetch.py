"""Fetch: a package from the Hub into the cache that all users of the Hub share, each file checked by its manifest.

The manifest comes first; what it does not name, or what is not of a kind that is safe to read, is never asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

from export.types import ExportReport
from zoo.errors import BadPackage, HubError
from zoo.hub.address import Address, is_commit
from zoo.hub.client import hub
from zoo.hub.compat import small_chunks
from zoo.hub.settings import hub_cache, is_offline, server_name
from zoo.package.card import CONFIG, MOST_CONFIG_BYTES, NUMERICS, PERF, read_config, read_reports
from zoo.package.manifest import ALL, Digest, Wanted, files_of, is_engine, read_checked
from zoo.package.readme import README
from zoo.types import Progress, Say, no_progress, silent


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A package from the Hub, or the part of it that was asked for.

    Args:
        address: as it was asked for.
        commit: the hash that its revision stands for now.
        folder: where the files lie; others may be there, too, and only ``files`` were checked.
        files: relative to ``folder``, all that ``load_package`` needs for what was wanted.
    """

    address: Address
    commit: str
    folder: Path
    files: tuple[str, ...]


def fetch(
    address: Address,
    *,
    wanted: Wanted = ALL,
    readme: bool = False,
    card_only: bool = False,
    progress: Progress = no_progress,
    say: Say = silent,
) -> Fetched:
    """Fetch what is not in the cache yet.

    Args:
        address: of the package.
        wanted: which of its artefacts.
        readme: its README.md, too; people edit that on the Hub, and the network does not need it.
        card_only: what ``read_card`` needs, and nothing more.
        progress: called with ("fetch", bytes that arrived, bytes in all).
        say: receives one line for each thing that happened.

    Raises:
        HubError: it is not there, may not be seen, or cannot be reached; NotInCache where offline.
        BadPackage: what is there is no package, or not what its manifest says.
        UnknownName: it has no artefact that is wanted.
    """
    commit = _commit_of(address)
    config = download(address, commit, CONFIG, MOST_CONFIG_BYTES)
    manifest = _manifest(address, config)
    source = _Source(address, commit, config.parent, manifest, progress)
    evidence = [source.read(file).decode(errors="replace") for file in (PERF, NUMERICS)]
    if card_only:
        return Fetched(address=address, commit=commit, folder=config.parent, files=(PERF, NUMERICS))
    files = _needed(read_reports(*evidence), manifest, wanted, readme, say)
    for file in files:
        source.read(file)
    return Fetched(address=address, commit=commit, folder=config.parent, files=files)


def _commit_of(address: Address) -> str:
    """The commit that a revision stands for; as the cache remembers it where the Hub cannot be reached."""
    if address.revision is not None and address.is_pinned:
        return address.revision
    with hub(address) as api:
        commit = api.resolve_revision(
            address.repo, revision=address.revision, cache_dir=hub_cache(), local_files_only=is_offline()
        ).resolved
    if not is_commit(commit):
        raise HubError(f"{server_name()} gives {address} a commit that is none; do not use this server")
    return commit


def _manifest(address: Address, config: Path) -> dict[str, Digest]:
    try:
        return read_config(config.read_bytes().decode())[1]
    except UnicodeDecodeError:
        raise BadPackage(f"{address} on {server_name()}: {CONFIG} is not UTF-8 text; it is no package") from None
    except BadPackage as error:
        raise BadPackage(f"{address} on {server_name()}: {error}") from None


def _needed(
    reports: tuple[ExportReport, ...], manifest: Mapping[str, Digest], wanted: Wanted, readme: bool, say: Say
) -> tuple[str, ...]:
    """The files for what is wanted: all but other artefacts, engines and, unless it is asked for, the README."""
    left = files_of(reports, manifest) - files_of(wanted.among(reports), manifest)
    if engines := {file for file in manifest if is_engine(file)}:
        say(f"not fetched: {', '.join(sorted(engines))}; an engine is used where it was built: `zoo export` builds one")
    if not readme:
        left.add(README)
    return tuple(file for file in manifest if file not in left | engines)


class _Source:
    """A package's files on the Hub, or in the cache where they are already.

    Args:
        address: of the package.
        commit: that its revision stands for.
        folder: where that commit's files lie in the cache.
        manifest: what they must be.
        progress: see ``fetch``.
    """

    def __init__(
        self, address: Address, commit: str, folder: Path, manifest: Mapping[str, Digest], progress: Progress
    ) -> None:
        self._address, self._commit, self._folder, self._manifest = address, commit, folder, manifest
        self._progress = progress
        self._total = sum(digest.bytes for digest in manifest.values())
        self._arrived = 0

    def read(self, file: str) -> bytes:
        """A file that is what the manifest says; fetched a second time where the cache's copy is damaged."""
        if file not in self._manifest:
            raise BadPackage(f"{self._address} has no {file}; it is no package that this version reads")
        self._fetch(file)
        try:
            return read_checked(self._folder, file, self._manifest)
        except BadPackage:
            if is_offline():
                raise
            self._fetch(file, again=True)
        try:
            return read_checked(self._folder, file, self._manifest)
        except BadPackage as error:
            raise BadPackage(f"{self._address} on {server_name()} is not what it says of itself: {error}") from None

    def _fetch(self, file: str, again: bool = False) -> None:
        limit = self._manifest[file].bytes
        download(self._address, self._commit, file, limit, tell=self._tell, again=again)

    def _tell(self, count: int) -> None:
        self._arrived += count
        self._progress("fetch", min(self._arrived, self._total), self._total)


def download(
    address: Address,
    commit: str,
    file: str,
    most_bytes: int,
    *,
    tell: Callable[[int], None] = lambda count: None,
    again: bool = False,
) -> Path:
    """One file of a commit, from the cache or the Hub; not checked yet.

    Args:
        address: of the package.
        commit: the whole hash.
        file: its path in the repository.
        most_bytes: what it may weigh.
        tell: hears of bytes that arrived.
        again: even where the cache has it.
    """
    with hub(address, file) as api, small_chunks():
        path = Path(
            api.hf_hub_download(
                address.repo,
                file,
                revision=commit,
                cache_dir=hub_cache(),
                local_files_only=is_offline(),
                force_download=again,
                tqdm_class=metered(file, most_bytes, tell),
            )
        )
    if path != _snapshot(path, commit, file):
        raise HubError(f"{server_name()} sent {file} of another commit than it was asked for; do not use this server")
    return path


def _snapshot(path: Path, commit: str, file: str) -> Path:
    """Where a file of that commit lies, in the cache that ``path`` is in."""
    depth = len(Path(file).parts)
    return path.parents[depth] / commit / file


class Meter:
    """Stands where huggingface_hub expects the class of a progress bar; ``metered`` makes one for a file.

    Args:
        total: what the server says the file weighs.
        initial: what was here before.
        options: of a bar that draws itself.

    Raises:
        BadPackage: the server says, or sends, more than the file may weigh.
    """

    file: ClassVar[str]
    most_bytes: ClassVar[int]
    tell: ClassVar[Callable[[int], None]]

    def __init__(self, *, total: float | None = None, initial: float = 0, **options: Any) -> None:
        self.n, self.total = initial, total
        self._check(total or 0)

    def update(self, n: float | None = 1) -> None:
        """``n`` bytes more; fewer, where a download starts again."""
        self.n += n or 0
        self._check(self.n)
        type(self).tell(int(n or 0))

    def _draw_nothing(self, *args: Any, **options: Any) -> None:
        """What a bar would draw."""

    close = refresh = update_transfer = _draw_nothing
    set_description = set_description_str = set_postfix_str = set_transfer_postfix_str = _draw_nothing

    def __enter__(self) -> Meter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, size_bytes: float) -> None:
        if size_bytes > self.most_bytes:
            raise BadPackage(
                f"{self.file} has {size_bytes:.0f} bytes or more on the Hub, and {self.most_bytes} are allowed:"
                " do not trust this package"
            )


def metered(file: str, most_bytes: int, tell: Callable[[int], None]) -> type[Meter]:
    """The meter for a download of ``file``, which may weigh ``most_bytes``; ``tell`` hears of bytes that arrived."""
    return type("FileMeter", (Meter,), {"file": file, "most_bytes": most_bytes, "tell": staticmethod(tell)})
