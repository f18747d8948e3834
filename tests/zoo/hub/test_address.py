import socket
import string
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import close_session
from hypothesis import given
from hypothesis import strategies as st

import zoo
from zoo.checks import at_home, checked
from zoo.cli.app import program
from zoo.errors import BadAddress, HubError
from zoo.hub.address import Address, find_address, parse_address
from zoo.hub.client import hub, list_hub
from zoo.hub.settings import proxies
from zoo.names import METHODS, OBJECTIVES

PART = st.text(string.ascii_letters + string.digits, min_size=1, max_size=20)


@given(org=PART, name=PART, revision=st.none() | PART)
def test_an_address_is_its_own_text(org: str, name: str, revision: str | None) -> None:
    address = Address(repo=f"{org}/{name}", revision=revision)
    assert parse_address(str(address)) == address


@pytest.mark.parametrize("text", ["a/b", "A.b_c-d/e.f@v12", "acme/x@refs/pr/1", f"a/b@{'0' * 40}", "1/2@main"])
def test_these_are_addresses(text: str) -> None:
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "/",
        "a/",
        "/a",
        "a/b/c",
        "../b",
        "a/..",
        "a/b..c",
        "a/.b",
        "a--b/c",
        "a/b.git",
        "a/b@",
        "a/b@..",
        "a/b@../../etc",
        "a/b@/etc",
        "a/b@x//y",
        "a/b@x/",
        "a/b@x.lock",
        "a/b@v1@v2",
        "a\\b/c",
        "a/b\0",
        "a/b\n",
        "a/b c",
        "a/\u0431",
        "a\u2044b/c",
        "a\u202e/b",
        "~/b",
        "http://a/b",
        "a/" + "b" * 10_000,
        "a/b@" + "c" * 10_000,
    ],
)
def test_these_are_none_and_the_complaint_is_one_printable_line(text: str) -> None:
    assert find_address(text) is None
    with pytest.raises(BadAddress) as caught:
        parse_address(text)
    message = str(caught.value)
    assert message.isprintable() and message.isascii() and len(message) < 300


@given(st.text(max_size=60))
def test_no_text_climbs_out_of_a_folder(text: str) -> None:
    address = find_address(text)
    if address is not None:
        parts = f"{address.repo}/{address.revision or 'main'}".split("/")
        assert all(part not in ("", ".", "..") for part in parts) and str(address).isascii()


def test_no_name_of_the_zoos_is_an_address() -> None:
    for method in METHODS:
        for objective in OBJECTIVES:
            assert find_address(f"{method}-{objective}-cls-3ms@pixel3") is None


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


@pytest.fixture
def session() -> Iterator[None]:
    """The client asks the environment when it is made, and is kept."""
    close_session()
    yield
    close_session()


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
def test_a_proxy_that_does_not_answer_is_named(
    scheme: str, session: None, impatient: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as reserved:  # nobody listens there
        reserved.bind(("127.0.0.1", 0))
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://me:{SECRET}@127.0.0.1:{reserved.getsockname()[1]}")
        with pytest.raises(HubError, match="through the proxy that ALL_PROXY names") as caught:
            list_hub("acme")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_proxy_hears_which_server_is_asked_for(
    scheme: str, session: None, impatient: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bytes] = []

    def hang_up_on(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(5)
            heard.append(connection.recv(1000))
            if scheme == "socks5":
                connection.sendall(b"\x05\x00")  # no password is needed
                heard.append(connection.recv(1000))
                connection.sendall(b"\x05\x00\x00\x01" + bytes(6))  # connected, and now TLS would begin

    def serve(server: socket.socket) -> None:
        while True:  # the client tries again
            try:
                hang_up_on(server.accept()[0])
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(HubError):
            list_hub("acme")
    assert any(b"huggingface.co" in words for words in heard)


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


def test_a_tilde_is_the_home_in_every_path(monkeypatch: pytest.MonkeyPatch, pristine: Path, home: Path) -> None:
    monkeypatch.setenv("HOME", str(pristine.parent))

    @checked
    def told(*paths: str | Path, name: str) -> tuple[object, ...]:
        return (*paths, name)

    assert told("~/a", Path("~/b"), name="~") == (str(pristine.parent / "a"), pristine.parent / "b", "~")
    assert at_home("a~") == "a~" and at_home(None) is None
    for words in (["info", "~/pristine", "-q"], ["devices", "list", "-q"]):
        assert program()(words, standalone_mode=False) == 0
    assert zoo.get("~/pristine").card.name
    assert program()(["get", "~/pristine", "--to=~/copy", "-q"], standalone_mode=False) == 0
    assert (pristine.parent / "copy" / "config.json").is_file()
