"""Push: a package becomes a version of a repository on the Hub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError

from zoo.errors import BadAddress, BadPackage, HubError
from zoo.hub.address import Address
from zoo.hub.client import has_token, hub
from zoo.hub.compat import quiet_uploads
from zoo.hub.fetch import download
from zoo.hub.settings import endpoint, is_offline, server_name
from zoo.package.card import CONFIG, MOST_CONFIG_BYTES, config_text, read_config, read_manifest
from zoo.package.folder import load_package
from zoo.package.manifest import digest_of, read_checked
from zoo.package.readme import README, render_readme
from zoo.types import Say, tell

MAIN = "main"

_TAG = re.compile(r"v([1-9][0-9]{0,8})")
_TAG_TRIES = 5  # others may tag at the same moment; five in a row may not
_CONFLICT = 409  # HTTP: somebody was faster


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
    say: Say = tell,
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
        >>> zoo.hub.push("my-model", "acme/traffic-signs").address.revision  # doctest: +SKIP
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
    text = render_readme(model.card, params=model.params, embedding_dim=model.backbone.embedding_dim, repo=repo)
    files[README] = text.encode()
    digests = {file: digest_of(content) for file, content in sorted(files.items())}
    return {**files, CONFIG: config_text(card, digests).encode()}


def publish(
    files: Mapping[str, bytes], address: Address, *, private: bool, message: str, say: Say
) -> tuple[str, Address]:
    """Make a repository hold these files, in one commit, and tag it.

    Stopped at any moment and called again, it ends at the same.

    Args:
        files: a package's, by path.
        address: of the repository, which is created where it does not exist; its revision is the branch.
        private: of a new repository.
        message: of the commit and the tag.
        say: receives one line for each thing that happened.

    Returns:
        The commit, and the address of the tag.

    Raises:
        BadPackage: the repository holds something else.
        HubError: no token, no permission, no connection, ...
    """
    repo, branch = address.repo, address.revision or MAIN
    with hub(address) as api:
        if not api.repo_exists(repo):
            api.create_repo(repo, private=private, exist_ok=True)
            say(f"created {repo} on {server_name()}")
        if branch != MAIN:
            api.create_branch(repo, branch=branch, exist_ok=True)
        head = _head(api, repo, branch)
    stale = _stale(address, head, set(files)) if head else []
    with hub(address) as api, quiet_uploads():
        say(f"uploading {len(files)} files, {sum(map(len, files.values())) / 1e6:.1f} MB, to {server_name()}")
        added = [CommitOperationAdd(file, content) for file, content in sorted(files.items())]
        deleted = [CommitOperationDelete(file) for file in stale]
        done = api.create_commit(repo, [*added, *deleted], commit_message=message, revision=branch, parent_commit=head)
        tag = _tag(api, repo, done.oid, message)
    say(f"tagged {tag}")
    return done.oid, Address(repo=repo, revision=tag)


def require_way_there(address: Address) -> None:
    """Raise HubError where a push is bound to fail: offline, or without a token."""
    if is_offline():
        raise HubError("HF_HUB_OFFLINE=1 forbids pushing; unset it, or add --dry-run to see what would be pushed")
    if not has_token():
        raise HubError(
            f"pushing to {address.repo} needs a token with write access: `hf auth login` or HF_TOKEN; --dry-run needs"
            " none"
        )


def _head(api: HfApi, repo: str, branch: str) -> str | None:
    """The commit that a branch is at; None while it has none."""
    heads = {ref.name: ref.target_commit for ref in api.list_repo_refs(repo).branches}
    return heads.get(branch)


def _stale(address: Address, head: str, new: set[str]) -> list[str]:
    """Files of the package there that the new one lacks; what else lies there stays.

    Raises:
        BadPackage: something that is no package would be overwritten.
    """
    with hub(address) as api:
        there = set(api.list_repo_files(address.repo, revision=head))
    if CONFIG not in there:
        if taken := sorted(there & new - {README}):
            raise BadPackage(f"{address.repo} has a {taken[0]} that is no package's; name another repository")
        return []
    config = download(Address(repo=address.repo, revision=head), head, CONFIG, MOST_CONFIG_BYTES)
    try:
        _, old = read_config(config.read_bytes().decode())
    except (BadPackage, UnicodeDecodeError):
        raise BadPackage(
            f"{address.repo} has a {CONFIG} that this version did not write; name another repository, or update"
            " subnet-zoo"
        ) from None
    return sorted(set(old) & there - new)


def _tag(api: HfApi, repo: str, commit: str, message: str) -> str:
    """Give a commit the next free version: one above the highest, again where somebody else was faster."""
    for _ in range(_TAG_TRIES):
        taken = [int(match[1]) for ref in api.list_repo_refs(repo).tags if (match := _TAG.fullmatch(ref.name))]
        tag = f"v{max(taken, default=0) + 1}"
        try:
            api.create_tag(repo, tag=tag, revision=commit, tag_message=message)
        except HfHubHTTPError as error:
            if error.response.status_code != _CONFLICT:
                raise
        else:
            return tag
    raise HubError(f"{repo} is being tagged by others all the time; its files are there: push again for a tag")
