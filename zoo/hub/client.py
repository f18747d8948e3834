"""The client: the one way to the Hub, on which every failure becomes one line with what to do about it.

No message repeats what a server or a library said: an answer may echo the token that was sent.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import httpx2
from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import (
    BadRequestError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RevisionNotFoundError,
    RevisionResolutionError,
)

from zoo.errors import HubError, NotInCache
from zoo.home import DISTRIBUTION, zoo_version
from zoo.hub.address import Address
from zoo.hub.compat import refuse_paths_in_headers, without_xet
from zoo.hub.settings import check_url, endpoint, hub_cache, is_offline, proxies, server_name
from zoo.package.readme import LIBRARY

_LOG_IN = "`hf auth login` or HF_TOKEN gives one"
_HINTS = {
    401: f"does not know the token that was sent, or needs one; {_LOG_IN}",
    403: "does not let this token do that; use one with write access to the organization, or name another",
    404: "has nothing there that this token may see; mind the spelling, and a private repository needs a token",
    409: "says that it changed meanwhile; run the same command again",
    412: "says that somebody else pushed meanwhile; run the same command again",
    413: "finds a file too large; ask who runs it for the limit",
    416: "cannot resume a download; run the same command again",
    429: "asks for fewer requests; wait a few minutes and run the same command again",
}


@contextmanager
def hub(address: Address, file: str | None = None) -> Iterator[HfApi]:
    """The client, for talk about ``address``, or a file of it.

    Raises:
        NotInCache: the cache lacks something and ``HF_HUB_OFFLINE`` forbids fetching it.
        HubError: anything else that went wrong there or on the way.
    """
    _check_settings()
    try:
        refuse_paths_in_headers()  # this makes the client, which reads what the environment says of proxies
        with without_xet():
            yield HfApi(endpoint=endpoint(), library_name=DISTRIBUTION, library_version=zoo_version())
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, RevisionResolutionError) as error:
        raise _absent(address, file, error) from None
    except ImportError as error:
        raise HubError(f"{_proxy() or 'the proxy'} needs a library: pip install {error.name or 'socksio'}") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, HFValidationError, RuntimeError, ConnectionError) as error:
        raise _explained(address, error) from None
    except (UnicodeError, ValueError) as error:
        raise HubError(f"{server_name()} gave an answer about {address} that cannot be read ({_type(error)})") from None
    except OSError as error:
        raise _on_disk(address, error) from None


def _check_settings() -> None:
    """Refuse what the environment says where no request could be made of it; no message repeats a secret.

    Raises:
        HubError: a server or a proxy without a sensible address, or a token that no header holds.
    """
    check_url("HF_ENDPOINT", endpoint(), ("https", "http"))
    for name, value in proxies().items():
        check_url(name, value if "://" in value else f"http://{value}", ("http", "https", "socks5", "socks5h"))
    token = get_token() or ""
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise HubError("the token (HF_TOKEN, or of `hf auth login`) has characters that no token has; copy it again")


def _proxy() -> str | None:
    """The variable that names the proxy for the server, for people."""
    return next(iter(proxies()), None)


def _through() -> str:
    name = _proxy()
    return f" through the proxy that {name} names" if name else ""


def has_token() -> bool:
    """Whether the user is logged in, or ``HF_TOKEN`` is set."""
    return get_token() is not None


def _absent(address: Address, file: str | None, error: Exception) -> HubError:
    """The cache had to answer, and could not."""
    if is_offline():
        what = f"{file} of {address}" if file else f"{address}"
        return NotInCache(
            f"{what} is not in the cache {hub_cache()}, and HF_HUB_OFFLINE=1 forbids fetching it; unset it once, or"
            " point HF_HOME at the cache that has it"
        )
    cause = error.__cause__ or error.__context__
    if isinstance(cause, HfHubHTTPError):
        return _explained(address, cause)
    return HubError(
        f"{server_name()} cannot be reached{_through()}, and {address} is not in the cache {hub_cache()}; check the"
        " network, or HF_ENDPOINT where you use a server of your own"
    )


def _explained(address: Address, error: BaseException) -> HubError:
    while isinstance(error, RuntimeError) and error.__cause__ is not None:  # the client wraps what an upload hit
        error = error.__cause__
    if isinstance(error, RevisionNotFoundError):
        return HubError(f"{address.repo} has no revision {address.revision or 'main'} on {server_name()}")
    if isinstance(error, GatedRepoError):
        return HubError(f"{address.repo} is gated; ask for access on its page at {server_name()}, then log in")
    if isinstance(error, BadRequestError):
        return HubError(f"{server_name()} refused what was sent for {address} (400); report it with `zoo env`")
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        hint = _HINTS.get(status, "is in trouble; try again later")
        if status in (401, 404) and not has_token():
            hint = f"has nothing there that may be seen without a token; mind the spelling; {_LOG_IN}"
        return HubError(f"{address}: {server_name()} {hint} ({status})")
    if isinstance(error, httpx2.TimeoutException):
        return HubError(f"{server_name()} did not answer in time for {address}; run the same command again")
    if "Xet" in str(error) or type(error).__module__.startswith("hf_xet"):
        return HubError(f"{server_name()} does not speak Xet; set HF_HUB_DISABLE_XET=1 and push again")
    return HubError(
        f"the connection to {server_name()}{_through()} broke for {address} ({_type(error)}); run the same"
        " command again, and set HF_HUB_DISABLE_XET=1 where the server may not speak Xet"
    )


def _on_disk(address: Address, error: OSError) -> HubError:
    if error.errno == errno.ENOSPC:
        return HubError(f"no space is left in {hub_cache()} for {address}; `zoo cache clean` makes some")
    if error.errno is not None:
        return HubError(f"the cache {hub_cache()} cannot be used ({error.strerror}); set HF_HOME to another folder")
    return HubError(f"what {server_name()} sent for {address} was cut short; run the same command again")


def _type(error: BaseException) -> str:
    return type(error).__name__


_MOST = 1000  # repositories of one organization; more is a mistake


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
    about, what = Address(repo=f"{org}/all"), f"the packages of {org}"  # a name that only an address has to have
    if is_offline():
        raise HubError(f"{what} can only be listed online, and HF_HUB_OFFLINE=1 forbids that; unset it once")
    try:
        with hub(about) as api:
            found = [
                (model.id, model.tags or [], model.downloads or 0)
                for model in islice(api.list_models(author=org, filter=LIBRARY), _MOST)
            ]
    except HubError as error:
        raise HubError(str(error).replace(str(about), what)) from None
    return [_entry(repo, tags, downloads) for repo, tags, downloads in sorted(found)]


def _entry(repo: str, tags: list[str], downloads: int) -> HubEntry:
    values = {key: value for key, colon, value in (tag.partition(":") for tag in tags) if colon}
    return HubEntry(
        repo=repo, task=values.get("task"), device=values.get("device"), tags=tuple(tags), downloads=downloads
    )
