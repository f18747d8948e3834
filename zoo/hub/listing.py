"""What an organization has on the Hub."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from zoo.hub.address import Address
from zoo.hub.client import hub
from zoo.package.readme import LIBRARY

_MOST = 1000


@dataclass(frozen=True, kw_only=True)
class HubEntry:
    """A package on the Hub, as its tags describe it; nothing of it was fetched.

    Args:
        repo: ``org/name``.
        task: ``cls``, ``det`` or ``seg``; None where no tag says.
        device: the id of the device that its budget holds for; None where no tag says.
        tags: all of them.
        downloads: in the last month, as the Hub counts.
    """

    repo: str
    task: str | None
    device: str | None
    tags: tuple[str, ...]
    downloads: int


def list_hub(org: str) -> list[HubEntry]:
    """The packages of an organization or a user, by name; at most 1000.

    Raises:
        BadAddress: ``org`` is no name of one.
        HubError: the Hub cannot be reached, or says no.
    """
    about = Address(repo=f"{org}/x")
    with hub(about) as api:
        found = [
            (model.id, model.tags or [], model.downloads or 0)
            for model in islice(api.list_models(author=org, filter=LIBRARY), _MOST)
        ]
    return [_entry(repo, tags, downloads) for repo, tags, downloads in sorted(found)]


def _entry(repo: str, tags: list[str], downloads: int) -> HubEntry:
    values = {key: value for key, colon, value in (tag.partition(":") for tag in tags) if colon}
    return HubEntry(
        repo=repo, task=values.get("task"), device=values.get("device"), tags=tuple(tags), downloads=downloads
    )
