"""Push: a package becomes a version of a repository on the Hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zoo.card import CONFIG, config_text, read_config
from zoo.errors import BadAddress
from zoo.hub.address import Address
from zoo.hub.publish import MAIN, publish, require_way_there
from zoo.hub.settings import endpoint
from zoo.manifest import digest_of, read_checked
from zoo.package import load_package
from zoo.package_folder import read_manifest
from zoo.progress import Say, silent
from zoo.readme import README, render_readme


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What was published, or, on a dry run, would be.

    Args:
        address: with the new tag as its revision; without one on a dry run.
        url: of the page.
        commit: None on a dry run.
        sizes_bytes: of all files, by path.
        readme: the model card as it is published.
    """

    address: Address
    url: str
    commit: str | None
    sizes_bytes: Mapping[str, int]
    readme: str


def push(
    package: str | Path,
    repo: str,
    *,
    private: bool = False,
    revision: str = MAIN,
    message: str | None = None,
    dry_run: bool = False,
    say: Say = silent,
) -> Pushed:
    """Publish a package, after replaying its golden tensors.

    Its README.md is written anew, with snippets for ``repo``; all other files are published as they are.

    Args:
        package: its folder.
        repo: ``org/name``; it is created where it does not exist.
        private: of a new repository.
        revision: the branch to commit to; it is created where it does not exist.
        message: of the commit.
        dry_run: change nothing and ask nothing of the Hub; no token is needed.
        say: receives one line for each thing that happened.

    Raises:
        BadAddress: ``repo`` is no ``org/name``.
        BadPackage: the package is damaged, or the repository holds something else.
        VerificationFailed: it does not reproduce its golden outputs.
        HubError: no token, no permission, no connection, ...

    Example:
        >>> zoo.push("my-model", "acme/traffic-signs").address.revision  # doctest: +SKIP
        'v1'
    """
    address = Address(repo=repo, revision=None if revision == MAIN else revision)
    if address.is_pinned:
        raise BadAddress(f"{revision} is a commit; name a branch to push to")
    if not dry_run:
        require_way_there(address)
    files = _published(Path(package), repo)
    sizes_bytes = {file: len(content) for file, content in sorted(files.items())}
    url, readme = f"{endpoint()}/{repo}", files[README].decode()
    if dry_run:
        return Pushed(address=address, url=url, commit=None, sizes_bytes=sizes_bytes, readme=readme)
    name = read_config(files[CONFIG].decode())[0].name
    commit, tagged = publish(files, address, private=private, message=message or name, say=say)
    return Pushed(address=tagged, url=url, commit=commit, sizes_bytes=sizes_bytes, readme=readme)


def _published(package: Path, repo: str) -> dict[str, bytes]:
    """All files of a package as they are published: the card speaks of ``repo``, and the manifest of that card."""
    model = load_package(package, verify=True)
    card, manifest = read_manifest(package)
    files = {file: read_checked(package, file, manifest) for file in manifest}
    params = sum(p.numel() for p in model.backbone.parameters())
    text = render_readme(model.card, params=params, embedding_dim=model.backbone.embedding_dim, repo=repo)
    files[README] = text.encode()
    digests = {file: digest_of(content) for file, content in sorted(files.items())}
    return {**files, CONFIG: config_text(card, digests).encode()}
