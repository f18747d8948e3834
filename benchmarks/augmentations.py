"""Are our own views worth their lines? The same augmentation by torchvision v2, kornia and lightly: speed, exactness.

    pip install kornia lightly
    python benchmarks/augmentations.py [--batch 64] [--size 64] [--crop 32] [--rounds 5] [--keep]

All make one view of each image of a batch of uint8 images, each with parameters of its own, by the settings of MoCo v2
for 32 px: random resized crop, flip, brightness, contrast, saturation, hue, grayscale, normalization. torchvision's
transforms draw one set of parameters a call, so they are called for each image; lightly's are torchvision's on PIL
images. They take turns, and the median round counts. Exactness: each color operation of ours against torchvision's
function of the same parameter, largest difference on the scale 0..255.
"""

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch
import torchvision.transforms.v2.functional as tv
from results import Section, Table, keep
from torch import Tensor
from torchvision.transforms import v2

from hardware_profiles.measure.processor import processor
from search.images import views as own
from search.images.synthesize import dead_leaves

SETTINGS = own.Views(crop_px=32)


def ours(pixels: Tensor, crop_px: int) -> Callable[[], Tensor]:
    generator = torch.Generator().manual_seed(0)
    settings = own.Views(crop_px=crop_px)
    return lambda: own.views(pixels, settings, generator)


def torchvision_v2(pixels: Tensor, crop_px: int) -> Callable[[], Tensor]:
    jitter = v2.ColorJitter(*SETTINGS.jitter)
    make = v2.Compose(
        [
            v2.RandomResizedCrop(crop_px, (SETTINGS.min_scale, 1.0), SETTINGS.ratio, antialias=True),
            v2.RandomHorizontalFlip(SETTINGS.flip_p),
            v2.ToDtype(torch.float32, scale=True),
            v2.RandomApply([jitter], SETTINGS.jitter_p),
            v2.RandomGrayscale(SETTINGS.gray_p),
            v2.Normalize(SETTINGS.mean, SETTINGS.std),
        ]
    )
    return lambda: torch.stack([make(image) for image in pixels])


def kornia_augmentation(pixels: Tensor, crop_px: int) -> Callable[[], Tensor]:
    import kornia.augmentation as k

    b, c, s, h = SETTINGS.jitter
    make = k.AugmentationSequential(
        k.RandomResizedCrop((crop_px, crop_px), (SETTINGS.min_scale, 1.0), SETTINGS.ratio),
        k.RandomHorizontalFlip(p=SETTINGS.flip_p),
        k.ColorJitter(b, c, s, h, p=SETTINGS.jitter_p),
        k.RandomGrayscale(p=SETTINGS.gray_p),
        k.Normalize(torch.tensor(SETTINGS.mean), torch.tensor(SETTINGS.std)),
    )
    return lambda: make(pixels.float() / 255)  # type: ignore[no-any-return]


def lightly_transform(pixels: Tensor, crop_px: int) -> Callable[[], Tensor]:
    from lightly.transforms.simclr_transform import SimCLRViewTransform  # type: ignore[import-not-found]

    b, c, s, h = SETTINGS.jitter
    make = SimCLRViewTransform(
        input_size=crop_px,
        cj_prob=SETTINGS.jitter_p,
        cj_strength=1.0,
        cj_bright=b,
        cj_contrast=c,
        cj_sat=s,
        cj_hue=h,
        min_scale=SETTINGS.min_scale,
        random_gray_scale=SETTINGS.gray_p,
        gaussian_blur=0.0,
        hf_prob=SETTINGS.flip_p,
    )
    images = [tv.to_pil_image(image) for image in pixels]
    return lambda: torch.stack([make(image) for image in images])


SIDES = {
    "ours": ours,
    "torchvision v2": torchvision_v2,
    "kornia": kornia_augmentation,
    "lightly": lightly_transform,
}


def speeds(pixels: Tensor, crop_px: int, rounds: int) -> dict[str, float | str]:
    """Images/s of each, or why it could not be tried."""
    made: dict[str, Callable[[], Tensor]] = {}
    found: dict[str, float | str] = {}
    for name, side in SIDES.items():
        try:
            made[name] = side(pixels, crop_px)
            made[name]()
        except Exception as error:
            made.pop(name, None)
            found[name] = f"{type(error).__name__}: {error}"
    seconds: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(rounds):
        for name, run in made.items():
            began = time.process_time()
            run()
            seconds[name].append(time.process_time() - began)
    return found | {name: round(len(pixels) / float(np.median(each)), 1) for name, each in seconds.items()}


def differences(pixels: Tensor) -> dict[str, float]:
    x = pixels.float() / 255
    full = torch.ones(len(x))
    pairs = {
        "brightness": (own.brightness(x, 1.3 * full), tv.adjust_brightness(x, 1.3)),
        "contrast": (own.contrast(x, 0.7 * full), tv.adjust_contrast(x, 0.7)),
        "saturation": (own.saturation(x, 1.4 * full), tv.adjust_saturation(x, 1.4)),
        "hue": (own.hue(x, 0.08 * full), tv.adjust_hue(x, 0.08)),
        "gray": (own.gray(x), tv.rgb_to_grayscale(x)),
    }
    return {name: round(255 * float((a - b).abs().max()), 4) for name, (a, b) in pairs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--crop", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    pixels = dead_leaves(args.batch, args.size, seed=0)
    about = {"batch": args.batch, "size_px": args.size, "crop_px": args.crop}
    found = {"images_per_core_s": speeds(pixels, args.crop, args.rounds), "off_by_of_255": differences(pixels)}
    print(json.dumps(about | found, indent=1))
    if args.keep:
        keep("augmentations", section(about, **found))


def section(
    about: dict[str, int], images_per_core_s: dict[str, float | str], off_by_of_255: dict[str, float]
) -> Section:
    shape = f"{about['batch']} images of {about['size_px']} px, crops of {about['crop_px']} px"
    return Section(
        title="Our views against torchvision v2, kornia and lightly",
        order=62,
        command="python benchmarks/augmentations.py --keep",
        machine=f"{processor()}, torch, 1 thread, fp32",
        date=time.strftime("%Y-%m-%d"),
        text=(
            "Crop, flip, colors and normalization of MoCo v2, with parameters of its own for each image; seconds are"
            " those that the core spent, so other work on the machine hardly counts. Ours are the only ones of which a"
            " part of a batch gives the views that it gets in the whole, whatever the device, which several processes"
            " need; and where the colors can be compared they are torchvision's."
        ),
        tables=[
            Table(
                caption=shape,
                columns=["by", "images/s of one core"],
                rows=[[name, value] for name, value in images_per_core_s.items()],
            ),
            Table(
                caption="our colors against torchvision's functions, largest difference of 255",
                columns=["operation", "off by"],
                rows=[[name, value] for name, value in off_by_of_255.items()],
            ),
        ],
    )


if __name__ == "__main__":
    main()
