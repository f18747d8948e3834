"""What the environment says of the Hub, read at each call: the same variables that huggingface_hub reads at import."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

from zoo.errors import HubError

OFFICIAL = "https://huggingface.co"

_TRUE = ("1", "ON", "YES", "TRUE")


def endpoint() -> str:
    """The server: ``HF_ENDPOINT``, else the official one; without a slash at its end."""
    return (os.environ.get("HF_ENDPOINT") or OFFICIAL).rstrip("/")


def server_name() -> str:
    """The server for people: its host and port, never a password that its address may hold."""
    try:
        parts = urlsplit(endpoint())
        return parts.hostname + (f":{parts.port}" if parts.port else "") if parts.hostname else "HF_ENDPOINT"
    except ValueError:
        return "HF_ENDPOINT"


def proxies() -> dict[str, str]:
    """What the environment says of proxies that lead to the server: the value by the variable's name."""
    host = urlsplit(endpoint()).hostname or ""
    if proxy_bypass(host):
        return {}
    scheme = endpoint().partition("://")[0].lower()
    found: dict[str, str] = {}
    for kind in (scheme, "all"):
        for name in (f"{kind}_proxy", f"{kind.upper()}_PROXY"):
            if value := os.environ.get(name, "").strip():
                found.setdefault(name, value)
    return found


def check_url(name: str, value: str, schemes: tuple[str, ...]) -> None:
    """Refuse an address without a host, of another scheme, or with an impossible port; it may hold a password.

    Raises:
        HubError: the variable, and how it is written.
    """
    try:
        parts = urlsplit(value)
        is_good = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise HubError(f"{name} is no address; write it as {schemes[0]}://HOST or {schemes[0]}://HOST:PORT")


def is_official() -> bool:
    """Whether the server is Hugging Face's own."""
    return endpoint() == OFFICIAL


def is_offline() -> bool:
    """``HF_HUB_OFFLINE=1``: use what is in the cache, and no network."""
    return (os.environ.get("HF_HUB_OFFLINE") or "").upper() in _TRUE


def xet_is_decided() -> bool:
    """Whether the user has said if transfers may use Xet."""
    return "HF_HUB_DISABLE_XET" in os.environ


def hub_cache() -> Path:
    """The folder that all users of the Hub share: ``HF_HUB_CACHE``, else ``HF_HOME/hub``, else the default."""
    variables = os.environ
    if named := variables.get("HF_HUB_CACHE") or variables.get("HUGGINGFACE_HUB_CACHE"):
        return _folder(named)
    if home := variables.get("HF_HOME"):
        return _folder(home) / "hub"
    return _folder(variables.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface" / "hub"


def _folder(text: str) -> Path:
    return Path(os.path.expandvars(text)).expanduser().absolute()
