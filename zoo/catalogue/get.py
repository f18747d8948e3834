"""Get and pull: the model of a name, or of a repository on the Hub."""

from __future__ import annotations

from pathlib import Path

from zoo.catalogue.locate import locate, on_hub
from zoo.catalogue.model import Model
from zoo.hub.address import Address
from zoo.package.folder import load_package
from zoo.package.manifest import ALL, Wanted
from zoo.progress import Watch, watching
from zoo.types import Say, tell


def get(
    name: str | Path,
    *,
    images: str | Path | None = None,
    supernet: str | None = None,
    verify: bool = False,
    progress: Watch = "auto",
    say: Say = tell,
) -> Model:
    """The model of that name, ready to use.

    Args:
        name: a package's folder, ``org/name`` or ``org/name@revision`` on the Hub, or a name such as
            ``data-mocov2-cls-1ms`` (without a device: the one of the catalogue's entry, else this machine).
        images: a folder of unlabelled images to search on, where the answer is not in the cache; without one, the
            catalogue answers, or a search on images generated from statistics of the supernet's training images.
        supernet: the supernet to search; by default the one trained with the name's objective.
        verify: replay the package's golden tensors before returning it.
        progress: ``auto`` (bars or lines, as fits), None, or a function called with (stage, done, all).
        say: receives one line for each thing that happened.

    Raises:
        UnknownName: nothing has that name, and nothing can be made for it.
        BadPackage: the package is damaged.
        HubError: it is not on the Hub, may not be seen, or cannot be reached; NotInCache where offline.
        VerificationFailed: it does not reproduce its golden outputs.

    Example:
        >>> model = zoo.get("data-mocov2-cls-1ms", images="photos")  # doctest: +SKIP
    """
    progress = watching(progress)
    if (address := on_hub(name)) is not None:
        return pull(address, verify=verify, progress=progress, say=say)
    folder = locate(name, images=images, supernet=supernet, progress=progress, say=say)
    return Model(load_package(folder, verify=verify))


def pull(
    address: str | Address,
    *,
    wanted: Wanted = ALL,
    verify: bool = False,
    progress: Watch = "auto",
    say: Say = tell,
) -> Model:
    """A package on the Hub, ready to use; what is in the Hub's cache already is not fetched again.

    Args:
        address: ``org/name`` or ``org/name@revision``.
        wanted: which of its artefacts to fetch.
        verify: replay the package's golden tensors before returning it.
        progress: ``auto`` (bars or lines, as fits), None, or a function called with (stage, done, all).
        say: receives one line for each thing that happened.

    Raises:
        BadAddress: the text is no address.
        HubError: it is not there, may not be seen, or cannot be reached; NotInCache where offline.
        BadPackage: what is there is no package, or not what its manifest says.
        UnknownName: it has no artefact that is wanted.
        VerificationFailed: it does not reproduce its golden outputs.

    Example:
        >>> model = zoo.pull("acme/traffic-signs@v2")  # doctest: +SKIP
    """
    progress = watching(progress)
    from zoo.hub.fetch import fetch
    from zoo.hub.pull import as_address

    fetched = fetch(as_address(address), wanted=wanted, progress=progress, say=say)
    return Model(load_package(fetched.folder, files=fetched.files, verify=verify))
