"""Work-arounds for huggingface_hub, each with its symptom, the version it was seen in, and a test."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from huggingface_hub import constants, get_session

from zoo.errors import HubError
from zoo.hub.settings import is_official, server_name, xet_is_decided

_CHUNK_BYTES = 256 * 1024
_NAMES_OF_FILES = ("etag", "x-linked-etag", "x-repo-commit")


@contextmanager
def without_xet() -> Iterator[None]:
    """Do not use Xet with a server that is not Hugging Face's, unless the user decided otherwise.

    Symptom: an upload to a server without Xet retries for minutes, then fails with "error decoding response body".
    Version: huggingface_hub 2.4.0 with hf_xet 1.8.0. ``HF_HUB_DISABLE_XET`` helps, but only when it is set before
    huggingface_hub is imported.
    """
    if is_official() or xet_is_decided():
        yield
        return
    before = constants.HF_HUB_DISABLE_XET
    constants.HF_HUB_DISABLE_XET = True
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_XET = before


@contextmanager
def small_chunks() -> Iterator[None]:
    """Keep what arrived before a connection was cut, so that the next one goes on from there.

    Symptom: of a file below 10 MB, the size of a chunk, nothing is kept, and it is downloaded from its start again.
    Version: huggingface_hub 2.4.0.
    """
    before = constants.DOWNLOAD_CHUNK_SIZE
    constants.DOWNLOAD_CHUNK_SIZE = min(before, _CHUNK_BYTES)
    try:
        yield
    finally:
        constants.DOWNLOAD_CHUNK_SIZE = before


@contextmanager
def quiet_uploads() -> Iterator[None]:
    """Hush what the client's own way of uploading makes httpx2 say.

    Symptom: ``DeprecationWarning: Use 'content=<...>' to upload raw bytes/text content`` for every large file.
    Version: huggingface_hub 2.4.0 with httpx2 2.16.2.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Use 'content=<...>' to upload", category=DeprecationWarning)
        yield


def refuse_paths_in_headers() -> None:
    """From now on, refuse an answer whose headers would name a file outside the cache.

    Symptom: a server that answers ``ETag: "../../../x"`` makes the client write there, for the tag becomes the name
    of a file. Version: huggingface_hub 2.4.0.
    """
    hooks = get_session().event_hooks
    if _refuse not in hooks["response"]:
        get_session().event_hooks = {**hooks, "response": [*hooks["response"], _refuse]}


def _refuse(response: httpx2.Response) -> None:
    for header in _NAMES_OF_FILES:
        value = response.headers.get(header, "").removeprefix("W/").strip('"')
        if any(part in value for part in ("/", "\\", "..", "\0")):
            raise HubError(f"{server_name()} answered with a path for {header}; do not use this server")
