"""Keep the statistics of a supernet's training images beside it, so that names are answered without images.

python -m zoo.statistics --images DIR SUPERNET
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from search.image_statistics import ImageStatistics, measure_statistics, save_statistics
from search.images import read_images
from zoo.errors import exit_code, one_line
from zoo.supernets import find_supernet

SIDE_PX = 64
MAX_IMAGES = 8192


def keep_statistics(images: Path, supernet: str | Path) -> Path:
    """Measure a folder of images and write what is kept of them beside a supernet.

    Args:
        images: those that the supernet was trained on, or a fair sample of them.
        supernet: its name or folder.

    Raises:
        NotEnoughImages: too few can be read.
        UnknownName: no such supernet.
        WriteFailed: the file cannot be written.
    """
    folder = find_supernet(supernet)
    pixels = read_images(images, size_px=SIDE_PX, limit=MAX_IMAGES).pixels
    statistics: ImageStatistics = measure_statistics(pixels)
    return save_statistics(statistics, folder)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m zoo.statistics", description=__doc__)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("supernet")
    args = parser.parse_args()
    try:
        print(keep_statistics(args.images, args.supernet))
    except Exception as error:
        print(f"zoo: {one_line(error)}", file=sys.stderr)
        return exit_code(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
