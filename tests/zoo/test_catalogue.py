import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import zoo
import zoo.make.search
from hardware_profiles.errors import UnknownDevice
from hardware_profiles.tables.find import ALIASES
from hardware_profiles.types import LatencyTable
from search.nets import Backbone
from zoo.catalogue.get import get
from zoo.catalogue.locate import card_of, locate
from zoo.errors import BadPackage, UnknownName, ZooError
from zoo.make.images import fingerprint
from zoo.make.search import Made
from zoo.package.folder import write_package
from zoo.supernets import BUNDLED, find_supernet
from zoo.types import ModelCard


@pytest.fixture
def made(
    home: Path, card: ModelCard, backbone: Backbone, own_table: LatencyTable, monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, object]]:
    """Searches end at once with the small network; what was asked of them, as it happens."""
    asked: list[dict[str, object]] = []

    def answer(images: Path | None, *, out: Path, **request: object) -> Made:
        asked.append({"images": images, **request})
        about = replace(card.images, fingerprint=fingerprint(Path(images)) if images else "sample")
        found = write_package(
            out, card=replace(card, name=f"data-mocov2-cls-7ms@{own_table.device.id}", images=about), backbone=backbone
        )
        return Made(path=out, card=found)

    monkeypatch.setattr(zoo.make.search, "search", answer)
    return asked


def test_a_packages_folder_is_its_own_name(pristine: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert get(pristine).card == get(str(pristine), verify=True).card == card_of(pristine).card
    monkeypatch.chdir(pristine)
    assert get(".").card.name == get(pristine).card.name
    monkeypatch.chdir(pristine.parent)
    assert locate("pristine") == Path("pristine")


def test_a_name_is_answered_once_and_then_from_the_cache(made: list[dict[str, object]], image_folder: Path) -> None:
    first = get("data-mocov2-cls-7ms", images=image_folder)
    again = get("data-mocov2-cls-7.0ms@this")
    assert first.card == again.card and first.folder == again.folder and len(made) == 1
    assert str(first.architecture) == str(again.card.architecture)
    assert made[0]["images"] == image_folder


def test_other_images_are_another_question(made: list[dict[str, object]], image_folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(image_folder, tmp_path / "other"))
    (other / "000.png").unlink()
    folders = {locate("data-mocov2-cls-7ms", images=images) for images in (image_folder, other, image_folder, other)}
    assert len(folders) == len(made) == 2


def test_two_at_once_make_it_once(made: list[dict[str, object]], image_folder: Path) -> None:
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(locate("data-mocov2-cls-7ms", images=image_folder)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1 and len(made) == 1


def test_a_damaged_package_in_the_cache_is_made_again(made: list[dict[str, object]], image_folder: Path) -> None:
    folder = locate("data-mocov2-cls-7ms", images=image_folder)
    (folder / "perf.yaml").write_text("")
    assert locate("data-mocov2-cls-7ms", images=image_folder) != folder
    assert len(made) == 2


@pytest.mark.parametrize(
    "name",
    [
        "resnet50",
        "data-mocov3-cls-3ms",
        "data-mocov2-cls",
        "",
        "a" * 3_000,
        "a" * 10_000,
        "x\0y",
        "data-mocov2-cls-3ms@../../etc",
    ],
)
def test_an_unknown_name_lists_the_three_nearest_in_one_line(home: Path, name: str) -> None:
    with pytest.raises(ZooError) as caught:
        get(name)
    message = str(caught.value)
    assert message.isprintable() and len(message) < 500
    if not name.endswith("etc"):
        assert "nearest: data-mocov2-" in message


def test_the_nearest_names_keep_the_budget_that_was_asked_for(home: Path) -> None:
    with pytest.raises(UnknownName, match=r"nearest: data-mocov2-cls-0\.7ms"):
        get("data-moco-cls-0.7ms")


@pytest.mark.parametrize("path", ["..", "/etc", "./absent", "an/absent/package", "~/x/y"])
def test_a_path_that_is_no_package_is_one_line(home: Path, path: str) -> None:
    with pytest.raises(BadPackage, match="is no package"):
        get(path)


def test_a_name_without_a_supernet_says_how_to_make_one(home: Path) -> None:
    with pytest.raises(UnknownName, match="there is data-mocov2; `zoo pretrain --objective byol`"):
        get("data-byol-cls-3ms")


def test_info_makes_nothing(made: list[dict[str, object]]) -> None:
    with pytest.raises(UnknownName, match="has not been made yet"):
        card_of("data-mocov2-cls-7ms")
    assert not made


def test_an_alias_is_the_device_it_stands_for(made: list[dict[str, object]], image_folder: Path) -> None:
    with pytest.raises(UnknownDevice, match="device 'toaster' has no latency table; nearest: "):
        get("data-mocov2-cls-7ms@toaster")
    locate("data-mocov2-cls-7ms@edge", images=image_folder)
    assert made[0]["device"] == ALIASES["edge"]


def test_a_supernet_is_found_by_its_name_and_in_its_folder(tmp_path: Path) -> None:
    assert find_supernet("mobile-mocov2") == BUNDLED / "mobile-mocov2"
    assert find_supernet(BUNDLED / "resnet-mocov2") == BUNDLED / "resnet-mocov2"


@pytest.mark.parametrize("name", ["mobile-mocov", "", "a" * 3_000, "a" * 10_000, "x\0y", "/etc"])
def test_what_is_no_supernet_is_one_short_line(name: str) -> None:
    with pytest.raises(UnknownName, match=r"no supernet is called .*`zoo pretrain` makes one") as caught:
        find_supernet(name)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300
