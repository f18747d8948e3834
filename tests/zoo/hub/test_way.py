"""The way to the Hub: what the environment says is right, or told plainly, and no message repeats a secret."""

from pathlib import Path

import pytest

import zoo
from zoo.errors import BadAddress, HubError
from zoo.hub.address import Address, parse_address
from zoo.hub.client import hub, list_hub
from zoo.hub.settings import proxies

VARIABLES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE")
SECRET = "hf_Secret"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"HF_ENDPOINT": "huggingface.co"}, "HF_ENDPOINT is no address; write it as https://HOST"),
        ({"HF_ENDPOINT": f"http://me:{SECRET}@host:99999"}, "HF_ENDPOINT is no address"),
        ({"HF_ENDPOINT": "ftp://host"}, "HF_ENDPOINT is no address"),
        ({"HTTPS_PROXY": "http://[::1"}, "HTTPS_PROXY is no address; write it as http://HOST"),
        ({"ALL_PROXY": f"ftp://me:{SECRET}@host:1"}, "ALL_PROXY is no address"),
        ({"https_proxy": "http://"}, "https_proxy is no address"),
        ({"HF_TOKEN": f"{SECRET}\u20ac"}, "has characters that no token has; copy it again"),
        ({"HF_TOKEN": f"{SECRET} x"}, "has characters that no token has"),
        ({"HF_TOKEN": f"{SECRET}\x07"}, "has characters that no token has"),
    ],
)
def test_settings_that_cannot_be_are_told_by_name(
    settings: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(HubError, match=told) as caught, hub(Address(repo="acme/signs")):
        pass
    assert SECRET not in str(caught.value) and str(caught.value).isprintable()


def test_a_server_that_needs_no_proxy_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy:1")
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.acme")
    assert proxies() == {"ALL_PROXY": "socks5://proxy:1"}
    monkeypatch.setenv("NO_PROXY", "hub.acme")
    assert proxies() == {}


def test_offline_is_told_of_the_list_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubError, match="the packages of acme can only be listed online"):
        list_hub("acme")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://huggingface.co/acme/signs", "acme/signs"),
        ("https://huggingface.co/acme/signs/", "acme/signs"),
        ("https://huggingface.co/acme/signs/tree/v2", "acme/signs@v2"),
        ("https://hf.co/acme/signs?library=x", "acme/signs"),
        ("hf://acme/signs@v2", "acme/signs@v2"),
    ],
)
def test_a_page_of_the_hub_is_the_address_of_its_model(text: str, address: str) -> None:
    assert str(parse_address(text)) == address


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("https://example.org/acme/signs", "is not on huggingface.co, which HF_ENDPOINT names"),
        ("https://huggingface.co/datasets/acme/signs", "is no page of a model"),
        ("https://huggingface.co/acme/signs/blob/main/config.json", "is no page of a model"),
        ("ssh://huggingface.co/acme/signs", "is not on huggingface.co"),
    ],
)
def test_other_pages_are_refused_plainly(text: str, told: str) -> None:
    for ask in (parse_address, zoo.get):
        with pytest.raises(BadAddress, match=told):
            ask(text)
