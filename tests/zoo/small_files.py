"""Small files of the real kinds, made without training: a network with its artefact and card, a supernet, a table."""

from dataclasses import replace
from pathlib import Path

import torch
from typer.testing import CliRunner, Result

from export.artefact import export
from export.formats.onnx_file import metadata_props
from export.targets import target_at
from export.types import ExportReport, Preprocess
from hardware_profiles.types import DeviceProfile, LatencyTable, Validation
from search.nets import NETS, Backbone
from search.nets.heads import CLASSES
from search.nets.whole import all_head_ops
from search.recalibrate import recalibrate
from search.supernet import save_supernet
from search.types import Task
from tests import small_tables
from tests.search.small_supernets import supernet_of
from zoo.cli.app import program
from zoo.package.card import CONFIG, config_text, read_manifest
from zoo.package.manifest import describe
from zoo.types import Evaluation, Images, ModelCard, Provenance, Try

NAME = "data-mocov2-cls-1ms@bench"
SIDE_PX = 16
PREPROCESS = Preprocess(size_px=(SIDE_PX, SIDE_PX), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25))
DEVICE = replace(
    small_tables.DEVICE,
    id="bench",
    kind="cloud",
    chip="A chip | with <odd> text",
    runtime_version="1.0",
    license="none",
)
VALIDATION = Validation(
    networks=10, mape_percent=2.5, within_5_percent=80, within_10_percent=100, bias_percent=-0.1, kendall_tau=0.95
)


def write_supernet(folder: Path) -> Path:
    """A supernet that was never trained; its projections are what the seed made them."""
    about = {"recipe": {"epochs": 0, "seed": 0, "views": {"crop_px": SIDE_PX}}, "training": {"steps": 0, "seconds": 0}}
    data = {"images": 0, "terms": "none: it was never trained"}
    save_supernet(supernet_of("mobile", SIDE_PX, name="mobile-mocov2", data=data, **about), folder)
    return folder


def made_up_table(device: DeviceProfile) -> LatencyTable:
    """1 ms a block, so that predictions are far above what any clock says."""
    net = NETS["mobile"]
    keys = (*net.op_keys(SIDE_PX), *all_head_ops(net, SIDE_PX, (CLASSES,)))
    return small_tables.table(dict.fromkeys(keys, 1.0), device=device, resolution_px=SIDE_PX, validation=VALIDATION)


def small_backbone() -> Backbone:
    torch.manual_seed(0)
    net = NETS["mobile"]
    made = net.build(net.smallest(SIDE_PX))
    recalibrate(made, [torch.randn(16, 3, SIDE_PX, SIDE_PX)])
    return made


def small_report(backbone: Backbone, path: Path) -> ExportReport:
    """Of its artefact, made at that path."""
    return export(
        backbone,
        torch.randn(4, 3, SIDE_PX, SIDE_PX),
        target=target_at("cloud", SIDE_PX),
        path=path,
        metadata=metadata_props(PREPROCESS, name=NAME, net="mobile", architecture="[]"),
        predicted_ms=0.5,
        device=DEVICE.id,
        threads=1,
    )


def small_card(report: ExportReport) -> ModelCard:
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
        preprocess=PREPROCESS,
        reports=(report,),
        evaluation=(Evaluation(data="cifar10", metric="knn top1", value=0.71, protocol="k = 20"),),
        license="apache-2.0",
        images=Images(count=64, skipped=1, fingerprint="f" * 64),
        commit=None,
        zoo_version="0.1.0",
    )


def run(*words: object) -> Result:
    """A command of ``zoo``, in this process."""
    return CliRunner().invoke(program(), [str(word) for word in words])


def resealed(package: Path, **changes: object) -> Path:
    """A package whose card and files were changed, with all digests right again, as its author would write it."""
    card, manifest = read_manifest(package)
    (package / CONFIG).write_text(config_text(replace(card, **changes), describe(package, manifest)), "utf-8")
    return package
