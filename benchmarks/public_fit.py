"""How well do published times of well-known networks tell what an unseen one takes? Leave-one-model-out, by device.

    python benchmarks/public_fit.py FILE --models torchvision|timm [--device ID ...] [--batch 1]

For each device: the description that was chosen, and beside it what multiply-accumulates alone would say.
MobileNet-like networks, as ours are, stand apart. timm's files hold about 800 networks each, and take ten minutes to
count.
"""

import argparse
from pathlib import Path
from typing import Any

from hardware_profiles.errors import BadTimes
from hardware_profiles.fit import public
from hardware_profiles.types import CostModel, Validation
from zoo.devices.public import fit_published, read_published

MACS_ALONE = (("dense_macs", "pointwise_macs", "depthwise_macs", "grouped_macs"),)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--models", choices=("torchvision", "timm"), required=True)
    parser.add_argument("--device", action="append")
    parser.add_argument("--batch", type=int, default=1)
    args = parser.parse_args()
    published, counts = read_published(args.file), {}
    chosen = public.DESCRIPTIONS, public.RICH
    print(
        "device, runtime, networks | median error %, tau | MobileNet-like: mean %, bias % | MACs alone: median %, tau"
    )
    for device in args.device or sorted({one.id for one in published}):
        try:
            public.DESCRIPTIONS, public.RICH = chosen
            model = fit(published, args, device, counts)
            public.DESCRIPTIONS, public.RICH = MACS_ALONE, MACS_ALONE[0]
            alone = figures(fit(published, args, device, counts))
        except BadTimes as error:
            print(f"{device}: {error}")
            continue
        all_of, mobile = figures(model), model.mobile_validation
        apart = (
            "none" if mobile is None else f"{mobile.networks}: {mobile.mape_percent:.1f}, {mobile.bias_percent:+.1f}"
        )
        print(
            f"{device}, {model.device.runtime}, {all_of.networks}"
            f" | {all_of.median_percent:.1f}, {all_of.kendall_tau:.2f} | {apart}"
            f" | {alone.median_percent:.1f}, {alone.kendall_tau:.2f}"
        )


def fit(published: Any, args: argparse.Namespace, device: str, counts: Any) -> CostModel:
    return fit_published(published, args.models, device, batch=args.batch, counts=counts)[0]


def figures(model: CostModel) -> Validation:
    assert model.validation is not None
    return model.validation


if __name__ == "__main__":
    main()
