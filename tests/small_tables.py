"""Small devices, tables and blocks, and networks small enough to time in a test."""

import itertools
from functools import partial
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from torch import nn

from hardware_profiles import DeviceProfile, Latency, LatencyTable, Network, OpKey, Validation

DEVICE = DeviceProfile(
    id="board-t1-fp32",
    kind="edge",
    chip="Board, 4 cores, neon",
    memory_bytes=4_000_000_000,
    runtime="onnxruntime",
    runtime_version="1.22.0",
    precision="fp32",
    batch=1,
    threads=1,
    source="measured",
    reference="a test",
    license="Apache-2.0",
)
VALIDATION = Validation(
    networks=10,
    mape_percent=2.5,
    within_5_percent=90.0,
    within_10_percent=100.0,
    bias_percent=-0.5,
    kendall_tau=0.95,
    spearman_rho=0.99,
)
# On a busy machine an example may take long; that is no failure.
FEW = settings(max_examples=30, deadline=None)

_SIZE = st.integers(1, 9_999_999)
OP_KEYS = st.builds(
    OpKey,
    kind=st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True),
    **dict.fromkeys(("c_in", "c_out", "kernel", "stride", "expand", "groups", "height_px", "width_px"), _SIZE),
)


def key(c_out: int, c_in: int = 8, side_px: int = 16, kind: str = "conv") -> OpKey:
    return OpKey(kind=kind, c_in=c_in, c_out=c_out, kernel=3, height_px=side_px, width_px=side_px)


def table(times_ms: dict[OpKey, float], **changes: Any) -> LatencyTable:
    """A table of these times; whatever else it says can be changed."""
    entries = {op: Latency(median_ms=ms, p90_ms=ms, samples=5) for op, ms in times_ms.items()}
    about = {"device": DEVICE, "net": "mobile", "resolution_px": 32, "overhead_ms": 0.0, "scale": 1.0}
    about |= {"validation": None, "measured_at": "2026-01-02T03:04:05+00:00"}
    return LatencyTable(**{"entries": entries} | about | changes)


SIDE_PX = 8


def conv_key(c_in: int, c_out: int) -> OpKey:
    return OpKey(kind="conv", c_in=c_in, c_out=c_out, kernel=3, height_px=SIDE_PX, width_px=SIDE_PX)


def conv(c_in: int, c_out: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU())


BLOCKS = {conv_key(i, o): partial(conv, i, o) for i, o in ((3, 8), (8, 8), (8, 16), (16, 8))}
CHAINS = [(3, 8), (3, 8, 8), (3, 8, 16, 8), (3, 8, 8, 8), (3, 8, 8, 16), (3, 8, 16, 8, 16, 8), (3, 8, 16)]


def network(channels: tuple[int, ...]) -> Network:
    pairs = list(itertools.pairwise(channels))
    return Network(
        ops=tuple(conv_key(i, o) for i, o in pairs),
        build=lambda: nn.Sequential(*(conv(i, o) for i, o in pairs)),
        input_nchw=(1, 3, SIDE_PX, SIDE_PX),
    )


NETWORKS = [network(channels) for channels in CHAINS]
