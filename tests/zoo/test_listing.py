"""What ``zoo list`` holds, how it is filtered and sorted, and that it reads little."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import zoo.catalogue.entries
import zoo.hub.client
import zoo.package.folder
from search.nets import Backbone
from search.types import Task
from tests.zoo.small_files import run
from zoo.catalogue.entries import Entry, entries_text, load_entries
from zoo.catalogue.list import list_models, nearest_models
from zoo.catalogue.locate import entry_of
from zoo.errors import BadCatalogue, BadRequest
from zoo.hub.client import HubEntry
from zoo.package.folder import write_package
from zoo.supernets import read_supernet, supernet_folder, supernet_folders
from zoo.types import ModelCard

ROOT = Path(__file__).parents[2]
ENTRY = Entry(
    name="data-mocov2-det-3ms",
    device="server",
    source="measured",
    net="mobile",
    choices=("k3_e1",) * 22,
    resolution_px=32,
    score=0.5,
    criterion="layouts and size",
    predicted_ms=2.5,
    macs=10,
    params=20,
    peak_memory_bytes=30,
    supernet="mobile-mocov2",
    supernet_sha256="0" * 64,
    seed=0,
    evaluated=64,
    images="generated: none",
)


@pytest.fixture
def catalogue(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def fill(*entries: Entry) -> None:
        path = home / f"catalogue-{len(entries)}.json"
        path.write_text(entries_text(entries))
        monkeypatch.setattr(zoo.catalogue.entries, "ENTRIES", path)

    return fill


@pytest.fixture
def packages(home: Path, card: ModelCard, backbone: Backbone) -> Path:
    """Two packages in the cache: 0.6 ms for cls on ``bench``, 5 ms for seg on ``board``."""
    folder = home / "packages"
    write_package(folder / "a", card=card, backbone=backbone)
    slow = replace(card.recipe.tries[0], predicted_ms=5.5, measured_ms=None)
    device = replace(card.recipe.device, id="board", source="estimated")
    recipe = replace(card.recipe, tries=(slow,), device=device)
    other = replace(card, name="data-mocov2-seg-6ms@board", task=Task.SEG, recipe=recipe)
    write_package(folder / "b", card=other, backbone=backbone)
    os.utime(folder / "a" / "config.json", ns=(1, 1))
    return folder


def names(**options: object) -> list[str]:
    return [line.name for line in list_models(**options)]  # type: ignore[arg-type]


def test_all_that_can_be_had_is_in_one_list_what_is_here_first(packages: Path, catalogue: Callable[..., None]) -> None:
    catalogue(ENTRY)
    assert [(line.name, line.source) for line in list_models()] == [
        ("data-mocov2-seg-6ms@board", "package"),
        ("data-mocov2-cls-1ms@bench", "package"),
        ("data-mocov2-det-3ms", "catalogue"),
        ("mobile-mocov2", "supernet"),
        ("mobile-photo-mocov2", "supernet"),
        ("resnet-photo-mocov2-taught", "supernet"),
    ]


def test_a_package_s_line_says_what_its_card_says(packages: Path, card: ModelCard) -> None:
    (line,) = list_models("*@bench")
    assert (line.task, line.net, line.device, line.table) == ("cls", "mobile", "bench", "measured")
    assert (line.predicted_ms, line.measured_ms, line.objective) == (0.5, 0.6, "mocov2")
    assert line.bytes == card.reports[0].bytes and line.folder == packages / "a"
    assert (line.resolution_px, line.accuracy, line.accuracy_of) == (16, 0.71, "knn top1, cifar10")
    assert line.params == zoo.package.folder.load_package(packages / "a").params
    assert list_models("*@board")[0].ms == 5.5  # predicted, where no clock said otherwise


def test_every_filter_leaves_out_what_it_should(packages: Path, catalogue: Callable[..., None]) -> None:
    catalogue(ENTRY)
    assert names(task="det") == ["data-mocov2-det-3ms"]
    assert names(device="b*") == ["data-mocov2-seg-6ms@board", "data-mocov2-cls-1ms@bench"]
    assert names(max_ms=2.5) == ["data-mocov2-cls-1ms@bench", "data-mocov2-det-3ms"]
    assert names(net="resnet") == names(objective="byol") == names(pattern="nothing") == []
    assert names(pattern="*-seg-*", max_ms=9) == ["data-mocov2-seg-6ms@board"]
    assert names(net="mobile", objective="mocov2") == names()


def test_every_order_is_one_and_what_is_not_known_comes_last(packages: Path, catalogue: Callable[..., None]) -> None:
    catalogue(ENTRY)
    assert names(sort="name") == sorted(names())
    times = [line.ms for line in list_models(sort="ms")]
    assert times[:3] == [0.6, 2.5, 5.5] and times[3:] == [None] * 3
    devices = [line.device for line in list_models(sort="device")]
    assert devices == [*sorted(filter(None, devices)), *[None] * 3]
    with pytest.raises(BadRequest, match="cannot sort by 'size'; sort by name, ms, device, from"):
        names(sort="size")


def test_the_list_is_80_columns_wide_and_nothing_of_it_is_cut(
    packages: Path, catalogue: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue(ENTRY)
    long = f"data-mocov2-cls-1ms@{'a-very-long-name-of-a-device-' * 2}x"
    config = json.loads((packages / "b" / "config.json").read_text())
    (packages / "b" / "config.json").write_text(json.dumps({**config, "name": long}))
    shown = run("list").stdout
    assert all(len(line) <= 80 for line in shown.splitlines())
    for line in list_models():
        assert line.name in shown
    assert "here already" in shown.splitlines()[0] and "71.0" in shown and "0.60" in shown


def test_every_name_of_the_list_is_one_that_get_takes_or_info_knows() -> None:
    """Of the bundled catalogue: its supernets are those that the entries were cut from, so that each can be made."""
    lines = list_models()
    digests = {folder.name: read_supernet(folder).sha256 for folder in supernet_folders().values()}
    for entry in load_entries():
        assert digests[entry.supernet] == entry.supernet_sha256, entry.name
        assert entry_of(entry.name) == entry
    assert {line.source for line in lines} <= {"package", "catalogue", "supernet"}
    assert all(supernet_folder(line.name) for line in lines if line.source == "supernet")
    assert all(line.params and line.resolution_px for line in lines)
    photo = next(line for line in lines if line.name == "resnet-photo-mocov2-taught")
    assert photo.params == 3_322_624 and photo.accuracy == pytest.approx(0.6797, abs=1e-4)


def test_damaged_packages_are_left_out(packages: Path) -> None:
    (packages / "a" / "config.json").write_text("{")
    (packages / "b" / "config.json").write_text('{"name": "x"}')
    assert not [line for line in list_models() if line.source == "package"]


def test_the_hub_is_asked_only_when_it_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(org: str) -> list[HubEntry]:
        asked.append(org)
        return [HubEntry(repo=f"{org}/a", task="cls", device="raspi4", tags=(), downloads=3)]

    monkeypatch.setattr(zoo.hub.client, "list_hub", answer)
    list_models()
    assert not asked
    (line,) = list_models(hub="them", device="raspi4")
    assert (line.name, line.source, asked) == ("them/a", "hub", ["them"])


def test_the_nearest_names_are_of_what_can_be_had(catalogue: Callable[..., None]) -> None:
    catalogue(ENTRY)
    assert nearest_models("data-mocov2-det-3m")[0] == "data-mocov2-det-3ms"
    assert nearest_models("data-mocov2-cl-0.7ms")[0] == "data-mocov2-cls-0.7ms"


def test_a_damaged_catalogue_is_one_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = json.loads(entries_text((ENTRY,)))
    (entry,) = good["entries"]
    for i, bad in enumerate(
        (
            "{",
            '{"schema": 2, "entries": []}',
            json.dumps({**good, "more": 1}),
            json.dumps({**good, "entries": [{**entry, "extra": 1}]}),
            json.dumps({**good, "entries": [{**entry, "name": "data-mocov2-det-3ms@other"}]}),
        )
    ):
        path = home / f"bad-{i}.json"
        path.write_text(bad)
        monkeypatch.setattr(zoo.catalogue.entries, "ENTRIES", path)
        with pytest.raises(BadCatalogue) as caught:
            list_models()
        assert "\n" not in str(caught.value)


def test_listing_loads_neither_torch_nor_the_cards_of_packages(packages: Path) -> None:
    for i in range(20):
        shutil.copytree(packages / "a", packages / f"copy-{i}")
    code = (
        "import sys; from zoo.catalogue.list import list_models; print(len(list_models('*@bench')));"
        "print(*sorted({'torch', 'onnx', 'onnxruntime', 'zoo.package.card', 'huggingface_hub'} & set(sys.modules)))"
    )
    environment = {**os.environ, "ZOO_HOME": str(packages.parent), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["21"]
