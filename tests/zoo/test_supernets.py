from pathlib import Path

import pytest

from zoo.errors import UnknownName
from zoo.supernets import BUNDLED, find_supernet


def test_a_supernet_is_found_by_its_name_and_in_its_folder(tmp_path: Path) -> None:
    assert find_supernet("mobile-mocov2") == BUNDLED / "mobile-mocov2"
    assert find_supernet(BUNDLED / "resnet-mocov2") == BUNDLED / "resnet-mocov2"


@pytest.mark.parametrize("name", ["mobile-mocov", "", "a" * 3_000, "a" * 10_000, "x\0y", "/etc"])
def test_what_is_no_supernet_is_one_short_line(name: str) -> None:
    with pytest.raises(UnknownName, match=r"no supernet is called .*`zoo pretrain` makes one") as caught:
        find_supernet(name)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300
