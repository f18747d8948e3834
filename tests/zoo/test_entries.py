"""The curated catalogue: what ships is true, and an entry becomes a package."""

from dataclasses import replace
from pathlib import Path

import pytest

import zoo.catalogue.build
import zoo.catalogue.contents
import zoo.catalogue.entries
import zoo.make.search
import zoo.supernets
from hardware_profiles.estimate import estimate_ms
from hardware_profiles.tables.find import keep_table
from hardware_profiles.types import LatencyTable
from search.nets import NETS
from search.nets.cell import CELL
from search.nets.whole import family_for
from search.supernet import save_supernet
from search.types import Task
from tests.search.small_cells import DARTS_V2, single_network
from tests.search.small_supernets import made_up_table
from zoo.catalogue import Entry, find_entry, load_entries
from zoo.catalogue.build import make_entries, package_entry
from zoo.catalogue.contents import CELL_DEVICE, PHOTOS, SMALL, Ask, cell_asks, round_up_ms, wanted
from zoo.catalogue.entries import entries_text, read_entries
from zoo.catalogue.get import get
from zoo.catalogue.locate import entry_of, locate
from zoo.devices.tables import table_of, this_device
from zoo.errors import StaleEntry
from zoo.make.job import PHOTO_PX
from zoo.names import parse_name
from zoo.supernets import BUNDLED, PHOTO_SUPERNETS, read_supernet

SIDE_PX = 16


def test_the_catalogue_answers_all_that_is_wanted_for_three_tasks_on_every_kind_of_device() -> None:
    entries = load_entries()
    assert {entry.name for entry in entries} == {ask.name for ask in (*wanted(), *cell_asks())} and len(entries) >= 12
    assert {entry.task for entry in entries} == set(Task)
    assert len({entry.device for entry in entries}) >= 10
    kinds = {table_of(entry.device, entry.net, entry.resolution_px).device.kind for entry in entries}
    assert kinds >= {"point", "edge", "mobile", "cloud"}


def test_a_name_without_a_device_is_a_whole_model_for_photos_on_a_measured_server() -> None:
    for task in Task:
        name = parse_name(f"data-mocov2-{task}-3ms")
        entry = find_entry(name)
        assert entry is not None and entry.source == "measured"
        assert entry.supernet == PHOTO_SUPERNETS[task][0]
        assert entry.resolution_px == PHOTO_PX[task]
        assert entry.classes == (None if task is Task.CLS else 20)


def test_thumbnails_are_the_exception() -> None:
    entries = load_entries()
    small = {entry.name for entry in entries if entry.resolution_px < 96 and entry.net != "cell"}
    assert small == {ask.name for ask in SMALL} and len(small) <= 4
    assert {entry.task for entry in entries if entry.name in small} == {Task.CLS}


@pytest.mark.parametrize("entry", load_entries(), ids=lambda entry: entry.name)
def test_every_budget_of_the_catalogue_chooses(entry: Entry) -> None:
    if entry.net == "cell":
        return  # a single network
    net = NETS[entry.net]
    family = family_for(net, entry.task, entry.classes) if entry.classes else net
    table = table_of(entry.device, entry.net, entry.resolution_px)
    largest_ms = estimate_ms(table, family.ops(net.largest(entry.resolution_px)))
    assert entry.predicted_ms <= (entry.question.budget.latency_ms or 0) < largest_ms


@pytest.mark.parametrize("entry", load_entries(), ids=lambda entry: entry.name)
def test_an_entry_is_what_its_table_and_its_supernet_say(entry: Entry) -> None:
    table = table_of(entry.device, entry.net, entry.resolution_px)
    assert table.device.source == entry.source != "estimated"
    net = NETS[entry.net]
    ops = (family_for(net, entry.task, entry.classes) if entry.classes else net).ops(entry.candidate.architecture)
    assert entry.predicted_ms == pytest.approx(estimate_ms(table, ops), abs=2e-6)
    assert entry.predicted_ms <= (entry.question.budget.latency_ms or 0)
    again = "the catalogue is stale: run `python -m zoo.catalogue`"
    assert entry.supernet_sha256 == read_supernet(BUNDLED / entry.supernet).sha256, again


def test_the_catalogue_at_photo_size_is_one_of_today() -> None:
    assert len({ask.name for ask in PHOTOS}) >= 30 and len({ask.device for ask in PHOTOS}) >= 10
    assert {parse_name(ask.name).task for ask in PHOTOS} == set(Task)
    assert all(ask.resolution_px in range(96, 321, 32) for ask in PHOTOS)


@pytest.fixture
def board(home: Path, own_table: LatencyTable) -> str:
    """A device that is not this machine."""
    device = replace(own_table.device, id="board", chip="A board")
    keep_table(replace(own_table, device=device), home / "devices")
    return "board"


@pytest.fixture
def entry(board: str, monkeypatch: pytest.MonkeyPatch, home: Path) -> Entry:
    """The one entry of a catalogue, made by the code that makes the shipped one."""
    folders = {"folders": [home / "devices"]}
    original = zoo.catalogue.build.find_table
    monkeypatch.setattr(zoo.catalogue.build, "find_table", lambda *a, **k: original(*a, **k, **folders))
    asks = [Ask(name="data-mocov2-det-20ms", device=board, resolution_px=SIDE_PX)]
    said: list[str] = []
    (made,) = make_entries(asks, evaluations=3, progress=lambda *at: None, say=said.append)
    assert said and said[0].startswith("data-mocov2-det-20ms: ")
    path = home / "made.json"
    path.write_text(entries_text((made,)))
    monkeypatch.setattr(zoo.catalogue.entries, "ENTRIES", path)
    return made


def test_a_budget_is_rounded_up_to_a_number_that_people_say_and_no_other_name_has() -> None:
    assert [round_up_ms(ms, above_ms=0) for ms in (0.013, 0.31, 1, 1.01, 8.5, 61)] == [0.015, 0.4, 1, 1.2, 10, 80]
    assert [round_up_ms(2.7, above_ms=ms) for ms in (2.5, 3.0, 4.9)] == [3.0, 4.0, 5.0]


def test_a_bundled_network_of_cells_is_named_by_its_time_and_answers_that_name(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundled, tables = tmp_path / "weights", tmp_path / "tables"
    architecture = CELL.architecture(DARTS_V2, cells=5, channels=8, resolution_px=SIDE_PX)
    for name in ("cell-simclr-leaves", "cell-simclr-waves"):
        save_supernet(single_network(architecture, name), bundled / name)
    table = made_up_table("cell", SIDE_PX, scale=0.01)
    keep_table(replace(table, device=replace(table.device, id=CELL_DEVICE, source="measured")), tables)
    for module in (zoo.supernets, zoo.catalogue.contents):
        monkeypatch.setattr(module, "BUNDLED", bundled)
    original = zoo.catalogue.build.find_table
    for module in (zoo.catalogue.build, zoo.catalogue.contents):
        monkeypatch.setattr(module, "find_table", lambda *a, **k: original(*a, **k, folders=[tables]))
    asks = cell_asks()
    ms = estimate_ms(table, CELL.ops(architecture))
    budgets = [parse_name(ask.name).budget.latency_ms or 0 for ask in asks]
    assert [ask.supernet for ask in asks] == ["cell-simclr-leaves", "cell-simclr-waves"]
    assert 1.1 * ms <= budgets[0] < budgets[1] and asks[0].name.startswith("ssnas-simclr-cls-")
    entries = make_entries(asks, evaluations=3, progress=lambda *at: None, say=lambda line: None)
    assert all(entry.choices == architecture.choices and entry.evaluated == 1 for entry in entries)
    (tmp_path / "entries.json").write_text(entries_text(entries))
    monkeypatch.setattr(zoo.catalogue.entries, "ENTRIES", tmp_path / "entries.json")
    model = get(asks[1].name, verify=True)
    assert model.architecture == architecture and model.card.recipe.supernet == "cell-simclr-waves"
    readme = (model.folder / "README.md").read_text()
    assert "![The normal and the reduction cell" in readme and "cell-simclr-waves` holds one network" in readme
    assert (model.folder / "cells.png").read_bytes()[:4] == b"\x89PNG"


def test_entries_survive_their_text(entry: Entry, tmp_path: Path) -> None:
    other = replace(entry, name="data-mocov2-cls-1ms@board")
    (tmp_path / "two.json").write_text(entries_text((entry, other)))
    assert read_entries(tmp_path / "two.json") == (other, entry)


def test_making_an_entry_twice_gives_the_same(entry: Entry) -> None:
    asks = [Ask(name=entry.name, device=entry.device, resolution_px=SIDE_PX)]
    assert make_entries(asks, evaluations=3, progress=lambda *at: None, say=lambda line: None) == (entry,)


def test_a_name_of_this_kind_of_machine_keeps_its_budget_by_the_clock_and_says_so(
    entry: Entry, home: Path, own_table: LatencyTable
) -> None:
    here = this_device()
    keep_table(replace(own_table, device=replace(here, id="twin")), home / "devices")
    ask = Ask(name="data-mocov2-det-20ms@twin", device="twin", resolution_px=SIDE_PX)
    other = Ask(name=entry.name, device=entry.device, resolution_px=SIDE_PX)
    made, untimed = make_entries([ask, other], evaluations=3, timed=True, progress=lambda *at: None, say=lambda _: None)
    assert made.measured_ms is not None and 0 < made.measured_ms <= 20
    assert untimed.measured_ms is None


def test_a_name_without_a_device_is_the_entry_s_with_another_device_it_is_not(entry: Entry) -> None:
    assert find_entry(parse_name("data-mocov2-det-20ms")) == entry
    assert entry_of("data-mocov2-det-20.0ms@board") == entry
    assert entry_of("data-mocov2-det-20ms@this") is None and entry_of("data-mocov2-det-21ms@board") is None


def test_an_entry_is_packaged_once_and_its_card_tells_the_truth(entry: Entry) -> None:
    model = get("data-mocov2-det-20ms", verify=True)
    card = model.card
    assert card.name == "data-mocov2-det-20ms@board" and card.architecture.choices == entry.choices
    assert card.recipe.evaluated == entry.evaluated and card.recipe.supernet_sha256 == entry.supernet_sha256
    (one,) = card.recipe.tries
    assert one.predicted_ms == entry.predicted_ms and one.measured_ms is None  # this machine is no board
    assert card.images.fingerprint == entry.images
    assert get("data-mocov2-det-20ms@board").folder == model.folder


def test_another_supernet_makes_an_entry_stale_and_a_search_answers_instead(
    entry: Entry, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stale = replace(entry, supernet_sha256="1" * 64)
    with pytest.raises(StaleEntry, match="was made from another mobile-mocov2"):
        package_entry(stale, tmp_path / "out", say=lambda line: None)
    assert not (tmp_path / "out").exists()
    path = home / "stale.json"
    path.write_text(entries_text((stale,)))
    monkeypatch.setattr(zoo.catalogue.entries, "ENTRIES", path)
    asked: list[str] = []
    monkeypatch.setattr(zoo.make.search, "search", lambda *a, device, **k: asked.append(device) or _stop())
    said: list[str] = []
    with pytest.raises(InterruptedError):
        locate("data-mocov2-det-20ms", say=said.append)
    assert asked == ["board"] and "searching instead" in said[-1]


def _stop() -> None:
    raise InterruptedError
