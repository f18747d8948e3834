"""Small files of the real kinds, made without training or timing: a supernet and a latency table."""

from dataclasses import replace
from pathlib import Path

from typer.testing import CliRunner, Result

from hardware_profiles.types import DeviceProfile, LatencyTable, Validation
from search.nets import NETS
from search.nets.heads import CLASSES
from search.nets.whole import all_head_ops
from search.supernet import save_supernet
from tests import small_tables
from tests.search.small_supernets import supernet_of
from zoo.cli.app import program
from zoo.package.card import CONFIG, config_text, read_manifest
from zoo.package.manifest import describe

SIDE_PX = 16
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


def run(*words: object) -> Result:
    """A command of ``zoo``, in this process."""
    return CliRunner().invoke(program(), [str(word) for word in words])


def resealed(package: Path, **changes: object) -> Path:
    """A package whose card and files were changed, with all digests right again, as its author would write it."""
    card, manifest = read_manifest(package)
    (package / CONFIG).write_text(config_text(replace(card, **changes), describe(package, manifest)), "utf-8")
    return package
