"""A small network of the real net, its artefact and its package, made once a run."""

import shutil
from pathlib import Path

import pytest
import torch

import zoo.catalogue.entries
import zoo.make.confirm
import zoo.supernets
from export.artefact import export
from export.formats.onnx_file import metadata_props
from export.targets import target_at
from export.types import ExportReport, Preprocess
from hardware_profiles.measure.probe import probe_device
from hardware_profiles.tables.find import keep_table
from hardware_profiles.types import LatencyTable
from search.nets import NETS, Backbone
from search.recalibrate import recalibrate
from search.subnets.find import find_each
from search.types import Task
from tests.zoo.small_files import DEVICE, SIDE_PX, VALIDATION, made_up_table, write_supernet
from zoo.package.folder import write_package
from zoo.types import Evaluation, Images, ModelCard, Provenance, Try

NAME = "data-mocov2-cls-1ms@bench"


@pytest.fixture(scope="session")
def backbone() -> Backbone:
    torch.manual_seed(0)
    net = NETS["mobile"]
    made = net.build(net.smallest(SIDE_PX))
    recalibrate(made, [torch.randn(16, 3, SIDE_PX, SIDE_PX)])
    return made


@pytest.fixture(scope="session")
def preprocess() -> Preprocess:
    return Preprocess(size_px=(SIDE_PX, SIDE_PX), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25))


@pytest.fixture(scope="session")
def report(backbone: Backbone, preprocess: Preprocess, tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    return export(
        backbone,
        torch.randn(4, 3, SIDE_PX, SIDE_PX),
        target=target_at("cloud", SIDE_PX),
        path=tmp_path_factory.mktemp("artefact") / "model.onnx",
        metadata=metadata_props(preprocess, name=NAME, net="mobile", architecture="[]"),
        predicted_ms=0.5,
        device=DEVICE.id,
        threads=1,
    )


@pytest.fixture(scope="session")
def card(preprocess: Preprocess, report: ExportReport) -> ModelCard:
    architecture = NETS["mobile"].smallest(SIDE_PX)
    one = Try(architecture=architecture, score=0.9, predicted_ms=0.5, measured_ms=0.6)
    return ModelCard(
        name=NAME,
        architecture=architecture,
        task=Task.CLS,
        recipe=Provenance(
            supernet="mobile-mocov2",
            supernet_sha256="0" * 64,
            supernet_recipe={"epochs": 1.5, "seed": 3, "views": {"crop_px": 32}},
            supernet_data={"images": 40000, "terms": "non-commercial: research"},
            device=DEVICE,
            table_validation=VALIDATION,
            seed=7,
            evaluated=100,
            seconds=12.5,
            tries=(one, one),
        ),
        preprocess=preprocess,
        reports=(report,),
        evaluation=(Evaluation(data="cifar10", metric="knn top1", value=0.71, protocol="k = 20"),),
        license="apache-2.0",
        images=Images(count=64, skipped=1, fingerprint="f" * 64),
        commit=None,
        zoo_version="0.1.0",
    )


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
    (folder / "supernets" / zoo.supernets.DEFAULT).symlink_to("mobile-mocov2")  # what a search takes unless told
    keep_table(own_table, folder / "devices")
    return folder
