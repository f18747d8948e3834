"""The tiny net, known by its name to everything under test, and to no other test."""

from collections.abc import Iterator

import pytest

from search.nets import NETS
from tests.search.small_supernets import TINY


@pytest.fixture(scope="module", autouse=True)
def tiny_net() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETS, TINY.name, TINY)
        yield
