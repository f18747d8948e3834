"""What the environment says of the Hub, read at each call: the same variables that huggingface_hub reads at import."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

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
