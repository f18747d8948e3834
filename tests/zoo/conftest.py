"""A small network of the real net, its artefact and its package, made once a run."""

import shutil
from pathlib import Path

import pytest

import zoo.catalogue.entries
import zoo.make.confirm
import zoo.supernets
from export.types import ExportReport, Preprocess
from hardware_profiles.measure.probe import probe_device
from hardware_profiles.tables.find import keep_table
from hardware_profiles.types import LatencyTable
from search.nets import Backbone
from search.subnets.evolution import find_each
from tests.zoo.small_files import PREPROCESS, made_up_table, small_backbone, small_card, small_report, write_supernet
from zoo.package.folder import write_package
from zoo.types import ModelCard


@pytest.fixture(scope="session")
def backbone() -> Backbone:
    return small_backbone()


@pytest.fixture(scope="session")
def preprocess() -> Preprocess:
    return PREPROCESS


@pytest.fixture(scope="session")
def report(backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    return small_report(backbone, tmp_path_factory.mktemp("artefact") / "model.onnx")


@pytest.fixture(scope="session")
def card(report: ExportReport) -> ModelCard:
    return small_card(report)


@pytest.fixture(scope="session")
def pristine(card: ModelCard, backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package that no test may change."""
    folder = tmp_path_factory.mktemp("packages") / "pristine"
    write_package(folder, card=card, backbone=backbone)
    return folder


@pytest.fixture
def package(pristine: Path, tmp_path: Path) -> Path:
    """A copy to do bad things to."""
    return Path(shutil.copytree(pristine, tmp_path / "package"))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches score three networks on 16 images."""
    few = {"evaluations": 3, "generations": 1, "images": 16}
    monkeypatch.setattr(zoo.make.confirm, "find_each", lambda *a, **k: find_each(*a, **k, **few))


@pytest.fixture(scope="session")
def supernet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a supernet that was never trained; its projections are what the seed made them."""
    return write_supernet(tmp_path_factory.mktemp("supernets") / "mobile-mocov2")


@pytest.fixture(scope="session")
def own_table() -> LatencyTable:
    """A made-up table of this machine."""
    return made_up_table(probe_device(threads=1))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, supernet: Path, own_table: LatencyTable) -> Path:
    """A cache with that supernet under two names that hide any bundled one, and that table; the catalogue is empty."""
    folder = tmp_path / "home"
    monkeypatch.setenv("ZOO_HOME", str(folder))
    monkeypatch.setattr(zoo.supernets, "BUNDLED", tmp_path / "none")
    monkeypatch.setattr(zoo.catalogue.entries, "ENTRIES", folder / "entries.json")
    (folder / "supernets").mkdir(parents=True)
    (folder / "entries.json").write_text('{"schema": 1, "entries": []}')
    shutil.copytree(supernet, folder / "supernets" / "mobile-mocov2")
    for name in {name for names in zoo.supernets.PHOTO_SUPERNETS.values() for name in names}:
        (folder / "supernets" / name).symlink_to("mobile-mocov2")  # what a search takes unless told
    keep_table(own_table, folder / "devices")
    return folder
