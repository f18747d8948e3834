"""Small tables, devices and blocks that the tests of this folder share."""

from hypothesis import settings
from hypothesis import strategies as st

from hardware_profiles import DeviceProfile, Latency, LatencyTable, OpKey, Validation

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


def table(
    times_ms: dict[OpKey, float], *, overhead_ms: float = 0.0, scale: float = 1.0, validation: Validation | None = None
) -> LatencyTable:
    return LatencyTable(
        device=DEVICE,
        net="mobile",
        resolution_px=32,
        entries={op: Latency(median_ms=ms, p90_ms=ms, samples=5) for op, ms in times_ms.items()},
        overhead_ms=overhead_ms,
        scale=scale,
        validation=validation,
        measured_at="2026-01-02T03:04:05+00:00",
    )
