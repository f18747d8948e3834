"""Pull: a package from the Hub as a card, or as a folder in the cache or of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

from zoo.hub.address import Address, parse_address
from zoo.hub.fetch import Fetched, fetch
from zoo.package.card import CONFIG, Packaged, read_card, shrink_package
from zoo.package.folder import load_package
from zoo.package.manifest import ALL, Wanted
from zoo.package.staging import check_free, staged
from zoo.types import Progress, Say, no_progress, tell


def pull_card(address: str | Address) -> Packaged:
    """The card of a package on the Hub, without its weights; errors as ``zoo.pull``."""
    fetched = fetch(as_address(address), card_only=True)
    return Packaged(card=read_card(fetched.folder), folder=fetched.folder)


def pull_folder(
    address: str | Address,
    out: Path | None = None,
    *,
    wanted: Wanted = ALL,
    overwrite: bool = False,
    verify: bool = False,
    progress: Progress = no_progress,
    say: Say = tell,
) -> Path:
    """A package on the Hub as a folder: in the cache, or, with ``out``, a copy that is nobody else's.

    Args:
        address: ``org/name`` or ``org/name@revision``.
        out: the folder to write; where only some artefacts are wanted it is a whole package of these.
        wanted: which of its artefacts to fetch.
        overwrite: replace an earlier package at ``out``.
        verify: replay the package's golden tensors first.
        progress: called with (stage, done, all).
        say: receives one line for each thing that happened.

    Raises:
        OutputExists: ``out`` is not empty and may not be replaced.
        BadAddress, HubError, BadPackage, UnknownName, VerificationFailed: as ``zoo.pull``.
    """
    if out is not None:
        check_free(out, mark=CONFIG, overwrite=overwrite)
    fetched = fetch(as_address(address), wanted=wanted, readme=True, progress=progress, say=say)
    load_package(fetched.folder, files=fetched.files, verify=verify)
    if out is None:
        return fetched.folder
    with staged(out, mark=CONFIG, overwrite=overwrite) as draft:
        _copy(fetched, draft)
    return out


def _copy(fetched: Fetched, draft: Path) -> None:
    """The files that were fetched; where that is not all, with a card and a manifest of these alone."""
    for file in (CONFIG, *fetched.files):
        (draft / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(fetched.folder / file, draft / file)
    shrink_package(draft, fetched.files)


def as_address(address: str | Address) -> Address:
    """The address that a text is."""
    return parse_address(address) if isinstance(address, str) else address
