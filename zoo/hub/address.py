"""Addresses on the Hub: ``org/name`` or ``org/name@revision``, where a revision is a tag, a branch or a commit."""

from __future__ import annotations

import re
from dataclasses import dataclass

from zoo.errors import BadAddress
from zoo.hub.settings import server_name
from zoo.names import shown

GRAMMAR = "org/name or org/name@revision, of a-z, A-Z, 0-9 and inner . _ -, e.g. acme/traffic-signs@v2"

_PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,46}[A-Za-z0-9])?", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
# ".." climbs, "--" is how the Hub's cache writes "/", and the others end a git repository's or a reference's name.
_ALSO_OFFICIAL = ("huggingface.co", "hf.co", "www.huggingface.co")
_NEVER = ("..", "--", "//", ".git", ".lock", "/.")


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a package lies on the Hub.

    Args:
        repo: ``org/name``.
        revision: a tag, a branch or a commit; None means ``main``.
    """

    repo: str
    revision: str | None = None

    def __post_init__(self) -> None:
        """Refuse what could be anything but the name of a repository."""
        parts = self.repo.split("/")
        if len(parts) != 2 or not all(_PART.fullmatch(part) for part in parts) or _forbidden(self.repo):
            raise BadAddress(f"{shown(self.repo)} is not a repository's name: {GRAMMAR}")
        if self.revision is not None and (not _REVISION.fullmatch(self.revision) or _forbidden(self.revision)):
            raise BadAddress(f"{shown(self.revision)} is not a revision: {GRAMMAR}")

    def __str__(self) -> str:
        """The text that ``parse_address`` reads."""
        return f"{self.repo}@{self.revision}" if self.revision else self.repo

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit, which never changes."""
        return self.revision is not None and is_commit(self.revision)


def parse_address(text: str) -> Address:
    """``org/name[@revision]`` -> Address; so is the address of its page, and ``hf://org/name[@revision]``.

    Raises:
        BadAddress: the text is none.

    Example:
        >>> parse_address("acme/traffic-signs@v2").revision
        'v2'
    """
    repo, at, revision = _of_url(text).partition("@")
    if at and not revision:
        raise BadAddress(f"{shown(text)} ends before its revision: {GRAMMAR}")
    return Address(repo=repo, revision=revision or None)


def _of_url(text: str) -> str:
    """``https://HOST/org/name[/tree/revision]`` or ``hf://org/name[@revision]`` as ``org/name[@revision]``.

    Raises:
        BadAddress: it is of another server, or of something else than a model.
    """
    scheme, is_url, rest = text.partition("://")
    if not is_url:
        return text
    if scheme == "hf":
        return rest
    host, _, path = rest.partition("/")
    ours = server_name()
    if scheme not in ("http", "https") or host not in (ours, *(_ALSO_OFFICIAL if ours == _ALSO_OFFICIAL[0] else ())):
        raise BadAddress(f"{shown(text)} is not on {ours}, which HF_ENDPOINT names; write org/name, or set HF_ENDPOINT")
    parts = path.partition("?")[0].strip("/").split("/")
    if len(parts) == 2:
        return "/".join(parts)
    if len(parts) >= 4 and parts[2] == "tree":
        return f"{'/'.join(parts[:2])}@{'/'.join(parts[3:])}"
    raise BadAddress(f"{shown(text)} is no page of a model; write {GRAMMAR}")


def find_address(text: str) -> Address | None:
    """The address that ``text`` is; None where it can only be a path or a name."""
    try:
        return parse_address(text)
    except BadAddress:
        return None


def is_commit(text: str) -> bool:
    """Whether ``text`` is a whole commit hash."""
    return _COMMIT.fullmatch(text) is not None


def _forbidden(text: str) -> bool:
    return any(part in text for part in _NEVER) or text.endswith(("/", "."))
