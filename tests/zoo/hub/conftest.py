"""A stand-in Hub, an environment that points at it, and a cache of its own for every test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_server.hub_server import HubServer
from tests.zoo.hub.hub_names import REPO, TOKEN
from zoo.hub.push import _published


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A server where ``TOKEN`` may write to the organization acme; the environment is a logged-in user's."""
    for name in ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_DISABLE_XET"):
        monkeypatch.delenv(name, raising=False)
    with HubServer({TOKEN: {"acme"}, "hf_stranger": set()}) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
        yield running


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The client does not wait before it tries again; how long it would have."""
    waits: list[float] = []
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", waits.append)
    return waits


@pytest.fixture(scope="session")
def files(pristine: Path) -> dict[str, bytes]:
    """The package as a push publishes it."""
    return _published(pristine, REPO)


@pytest.fixture
def published(server: HubServer, files: dict[str, bytes]) -> HubServer:
    """The server with the package as v1, and nothing asked yet."""
    commit = server.store.put(REPO, files)
    server.store.repos[REPO].tags["v1"] = commit
    return server
