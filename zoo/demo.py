"""Images for the demo: crops of the two photographs that scikit-learn ships.

They are ``china.jpg`` and ``flower.jpg``, both licensed CC BY 2.0; their authors are named in scikit-learn's
``datasets/images/README.txt``. Run ``python -m zoo.demo FOLDER`` to write them.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

IMAGES = 256  # enough for a search, made in a second
SIDE_PX = 192  # a little more than a classifier of photos takes
_LEAST_PX = 96  # of a crop, before it is enlarged


def write_demo_images(folder: Path, *, seed: int = 0) -> int:
    """Write 256 square crops of varied scale, 192 px a side, half of them from each photograph.

    Args:
        folder: where to; all images appear at once, or none. One that holds files already is left as it is.
        seed: of the crops' places and scales.

    Returns:
        The number of images written: 0 where the folder held files already.
    """
    if folder.is_dir() and any(folder.iterdir()):
        return 0
    photographs: list[NDArray[np.uint8]] = load_sample_images().images
    generator = np.random.default_rng(seed)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for i in range(IMAGES):
            _crop(photographs[i % len(photographs)], generator).save(partial / f"{i:03d}.jpg", quality=90)
        partial.chmod(0o755)  # mkdtemp makes it private
        partial.replace(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return IMAGES


def _crop(photograph: NDArray[np.uint8], generator: np.random.Generator) -> Image.Image:
    height_px, width_px = photograph.shape[:2]
    side_px = round(float(np.exp(generator.uniform(np.log(_LEAST_PX), np.log(min(height_px, width_px))))))
    left = int(generator.integers(width_px - side_px + 1))
    top = int(generator.integers(height_px - side_px + 1))
    image = Image.fromarray(photograph[top : top + side_px, left : left + side_px])
    return image.resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR)


def main() -> None:
    """Write the images to the folder named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m zoo.demo", description="Write the demo's images.")
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    written = write_demo_images(folder)
    print(f"{folder}: {f'{written} images' if written else 'holds files already; kept'}", file=sys.stderr)


if __name__ == "__main__":
    main()
