"""How well do tables fitted to published times predict networks they have not seen? Makes the bundled device files.

    python benchmarks/published_tables.py --data DIR [--out hardware_profiles/devices]

DIR holds fbnet_cifar100.npz: ``arch`` (N, 22), the choice 0-8 in each layer of the FBNet space at 32 px; ``devices``;
``latency_ms`` (devices, N). These are the times published with HELP (Lee et al., NeurIPS 2021,
github.com/HayeonLee/HELP, MIT), which took some of them from HW-NAS-Bench (Li et al., ICLR 2021, MIT). 80 % of the
networks fit a table, the others (the same ones for every device, seed 0) validate it. Without --out nothing is written,
and the figures are compared with those in the bundled files.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hardware_profiles import DeviceProfile, OpKey, keep_table, list_tables
from hardware_profiles.fit.fit import fit_table
from search.nets.mobile import HEAD_CHANNELS, STAGES, STEM_CHANNELS

RESOLUTION_PX = 32
MEASURED_AT = "published 2021; when it was measured is not stated"
# Kernel, expansion and groups of the choices 0-7; 8 skips the layer.
BLOCKS = ((3, 1, 1), (3, 1, 2), (3, 3, 1), (3, 6, 1), (5, 1, 1), (5, 1, 2), (5, 3, 1), (5, 6, 1))

HELP = (
    "fitted to times of 5,000 FBNet networks at 32 px published with HELP (Lee et al., NeurIPS 2021); also holds blocks"
    " of that space which the net mobile lacks: groups of 2, and a 1x1 convolution (skip)"
)
HW_NAS_BENCH = (
    f"{HELP}; the times come from HW-NAS-Bench (Li et al., ICLR 2021) and are sums of block times already: the fit is"
    " exact, and its error says nothing about whole networks timed on the device"
)
WHOLE_MS = f"{HELP}; published in whole milliseconds; most of the error is the scatter of that phone's times"
EYERISS = f"{HW_NAS_BENCH}; simulated; the chip's 16-bit fixed point is listed as fp16"


@dataclass(frozen=True, kw_only=True)
class Published:
    """A column of the file, and what is known of its device."""

    id: str
    kind: str
    chip: str
    runtime: str = "not stated"
    precision: str = "fp32"
    batch: int = 1
    reference: str = HELP


def gpu(name: str, chip: str, *batches: int) -> dict[str, Published]:
    slug = name.replace("_", "-")
    return {
        f"{name}_{n}": Published(id=slug if n == 1 else f"{slug}-b{n}", kind="cloud", chip=chip, batch=n)
        for n in batches
    }


COLUMNS = {
    "raspi4": Published(
        id="raspi4", kind="edge", chip="Raspberry Pi 4", runtime="TensorFlow Lite", reference=HW_NAS_BENCH
    ),
    "pixel3": Published(
        id="pixel3", kind="mobile", chip="Google Pixel 3", runtime="TensorFlow Lite", reference=HW_NAS_BENCH
    ),
    "eyeriss": Published(
        id="eyeriss", kind="point", chip="Eyeriss (ASIC)", runtime="simulator", precision="fp16", reference=EYERISS
    ),
    "samsung_a50": Published(id="samsung-a50", kind="mobile", chip="Samsung Galaxy A50", reference=WHOLE_MS),
    "essential_ph_1": Published(id="essential-ph-1", kind="mobile", chip="Essential PH-1", reference=WHOLE_MS),
    "gold_6240": Published(id="gold-6240", kind="cloud", chip="Intel Xeon Gold 6240"),
    "silver_4114": Published(id="silver-4114", kind="cloud", chip="Intel Xeon Silver 4114"),
    **gpu("titan_rtx", "NVIDIA Titan RTX", 1, 32),
    **gpu("2080ti", "NVIDIA GeForce RTX 2080 Ti", 1, 64),
    **gpu("1080ti", "NVIDIA GeForce GTX 1080 Ti", 1, 32, 64),
    **gpu("titanx", "NVIDIA Titan X", 32, 64),
    **gpu("titanxp", "NVIDIA Titan Xp", 1, 32, 64),
}


def device(column: Published) -> DeviceProfile:
    """The profile; 0 and empty text stand for what was not published."""
    return DeviceProfile(**vars(column), memory_bytes=0, runtime_version="", threads=0, source="fitted", license="MIT")


def blocks(choices: np.ndarray) -> tuple[OpKey, ...]:
    """The 22 choices of a published network -> its blocks, stem and head included."""
    ops = [key("stem", 3, STEM_CHANNELS, kernel=3, side_px=RESOLUTION_PX)]
    c_in, side_px, layer = STEM_CHANNELS, RESOLUTION_PX, 0
    for count, c_out, first_stride in STAGES:
        for i in range(count):
            stride = first_stride if i == 0 else 1
            choice = int(choices[layer])
            if choice < len(BLOCKS):
                kernel, expand, groups = BLOCKS[choice]
                sizes = {"kernel": kernel, "stride": stride, "expand": expand, "groups": groups}
                ops.append(key("mbconv", c_in, c_out, side_px=side_px, **sizes))
            elif stride != 1 or c_in != c_out:  # it cannot be left out: a 1x1 convolution takes its place
                ops.append(key("skip", c_in, c_out, side_px=side_px, stride=stride))
            c_in, side_px, layer = c_out, -(-side_px // stride), layer + 1
    return (*ops, key("head", c_in, HEAD_CHANNELS, side_px=side_px))


def key(kind: str, c_in: int, c_out: int, *, side_px: int, **sizes: int) -> OpKey:
    return OpKey(kind=kind, c_in=c_in, c_out=c_out, height_px=side_px, width_px=side_px, **sizes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="write the device files into this folder")
    args = parser.parse_args()

    data = np.load(args.data / "fbnet_cifar100.npz", allow_pickle=False)
    networks = [blocks(choices) for choices in data["arch"]]
    bundled = {file.device_id: file for file in list_tables() if file.net == "mobile"}
    print(f"{'device':16} networks  MAPE %  within 5 %  within 10 %  bias %  tau    rho    rounding %")
    figures, different = {}, []
    for name, times_ms in zip(data["devices"].tolist(), data["latency_ms"], strict=True):
        table = fit_table(
            networks,
            times_ms.astype(float).tolist(),
            device=device(COLUMNS[name]),
            net="mobile",
            resolution_px=RESOLUTION_PX,
            measured_at=MEASURED_AT,
        )
        v = table.validation
        whole = (times_ms == times_ms.round()).all()  # times in whole ms are 0.25 ms off on average
        rounding = 100 * float(np.mean(0.25 / times_ms)) if whole else 0.0
        print(
            f"{table.device.id:16} {v.networks:8}  {v.mape_percent:6.3f}  {v.within_5_percent:10.1f}"
            f"  {v.within_10_percent:11.1f}  {v.bias_percent:6.2f}  {v.kendall_tau:.3f}  {v.spearman_rho:.3f}"
            f"  {rounding:.1f}"
        )
        figures[table.device.id] = v.mape_percent
        if args.out is not None:
            keep_table(table, args.out)
        elif table.device.id not in bundled or bundled[table.device.id].head().validation != v:
            different.append(table.device.id)
    print(json.dumps(figures))
    if different:
        sys.exit(f"not what the bundled files say: {', '.join(different)}; write them again with --out")


if __name__ == "__main__":
    main()
