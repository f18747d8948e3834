import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import BadAddress
from zoo.hub.address import Address, find_address, parse_address
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
