"""Small files of the real kinds, made without training or timing: a supernet and a latency table."""

from pathlib import Path

import torch

from hardware_profiles.types import DeviceProfile, Latency, LatencyTable, Validation
from search.nets import NETS
from search.nets.heads import CLASSES
from search.nets.layers import projector_of
from search.nets.whole import all_head_ops
from search.supernet import Supernet, SupernetCard, save_supernet

SIDE_PX = 16
DEVICE = DeviceProfile(
    id="bench",
    kind="cloud",
    chip="A chip | with <odd> text",
    memory_bytes=2**30,
    runtime="onnxruntime",
    runtime_version="1.0",
    precision="fp32",
    batch=1,
    threads=1,
    source="measured",
    reference="a test",
    license="none",
)
VALIDATION = Validation(
    networks=10, mape_percent=2.5, within_5_percent=80, within_10_percent=100, bias_percent=-0.1, kendall_tau=0.95
)


def write_supernet(folder: Path) -> Path:
    """A supernet that was never trained; its projections are what the seed made them."""
    torch.manual_seed(0)
    net = NETS["mobile"]
    backbone = net.build(net.largest(SIDE_PX))
    projector = projector_of(backbone.embedding_dim, 16, 8)
    parts = {"backbone": backbone, "projector": projector}
    weights = {f"{part}.{key}": w.detach() for part, m in parts.items() for key, w in m.named_parameters()}
    card = SupernetCard(
        name="mobile-mocov2",
        net="mobile",
        objective="mocov2",
        resolution_px=SIDE_PX,
        projection=(16, 8),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        recipe={"epochs": 0, "seed": 0, "views": {"crop_px": SIDE_PX}},
        data={"images": 0, "terms": "none: it was never trained"},
        training={"steps": 0, "seconds": 0},
        evaluation={},
        versions={},
    )
    save_supernet(Supernet(card=card, weights=weights), folder)
    return folder


def made_up_table(device: DeviceProfile) -> LatencyTable:
    """1 ms a block, so that predictions are far above what any clock says."""
    net = NETS["mobile"]
    keys = (*net.op_keys(SIDE_PX), *all_head_ops(net, SIDE_PX, (CLASSES,)))
    return LatencyTable(
        device=device,
        net="mobile",
        resolution_px=SIDE_PX,
        entries={key: Latency(median_ms=1.0, p90_ms=1.0, samples=1) for key in keys},
        overhead_ms=0.0,
        scale=1.0,
        validation=VALIDATION,
        measured_at="2026-01-01T00:00:00+00:00",
    )
