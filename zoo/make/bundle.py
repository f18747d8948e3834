"""Bundle: a finished training as a supernet that others can judge: what its images are, what it ran on, how good it is.

python -m zoo.make.bundle RUN -o zoo/weights/NAME --images DIR --data TEXT --terms TEXT --hardware TEXT
    [--teacher TEXT] [--evaluation FILE]
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hardware_profiles.plain_text import read_plain_json
from search.curve import METRICS, loss_curve
from search.images.read import read_images
from search.images.statistics import ImageStatistics, measure_statistics, save_statistics
from search.supernet import CARD, Supernet, load_supernet, save_supernet
from zoo.errors import BadRequest, exit_code, one_line
from zoo.make.darts_seed import GENOTYPE
from zoo.package.staging import check_free
from zoo.plots import CURVE_PNG, plot_curve
from zoo.supernets import find_supernet


def bundle(
    run: Path,
    out: Path,
    *,
    images: Path,
    data: str,
    terms: str,
    hardware: str,
    evaluation: Mapping[str, Any],
    teacher: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the supernet of ``run`` to ``out``, with a card that says all, its loss curve and its images' statistics.

    Args:
        run: the folder that ``zoo pretrain`` made.
        out: the supernet's folder; its last part is the supernet's name.
        images: those that it was trained on.
        data: what these are.
        terms: on which they may be used.
        hardware: what the training ran on.
        evaluation: of its networks, on labelled images that trained nothing; as ``zoo evaluate --json`` has it.
        teacher: what its outside teacher is, where it has one; None keeps what the training wrote.
        overwrite: replace what is at ``out``.

    Raises:
        BadSupernet: ``run`` holds no finished supernet.
        OutputExists: ``out`` is not empty, and ``overwrite`` is not given.
        NotEnoughImages: too few images can be read.
        WriteFailed: no space is left.
    """
    check_free(out, mark=CARD, overwrite=overwrite)
    made = load_supernet(run)
    training = {"hardware": hardware, **made.card.training}
    if "seconds" in training:
        training["minutes"] = round(training.pop("seconds") / 60)
    curve = training.pop("curve", None) or loss_curve(run / METRICS)
    card = replace(
        made.card,
        name=out.resolve().name,
        data={"images": made.card.data["images"], "name": data, "terms": terms, **_origin(made, teacher)},
        training={**training, "curve": curve},
        evaluation=evaluation,
    )
    save_supernet(replace(made, card=card), out)
    plot_curve(curve, out / CURVE_PNG, title=f"{card.name}, {card.objective}")
    keep_statistics(images, out)
    if (genotype := run / GENOTYPE).is_file():
        shutil.copyfile(genotype, out / GENOTYPE)
    return out


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m zoo.make.bundle", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    for name in ("data", "terms", "hardware"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--teacher", help="what the outside teacher is")
    parser.add_argument("--evaluation", type=Path, help="a JSON object, kept as it is")
    parser.add_argument("--overwrite", action="store_true")
    args = vars(parser.parse_args())
    try:
        evaluation = args.pop("evaluation")
        print(bundle(**args, evaluation={} if evaluation is None else _object(evaluation)))
    except Exception as error:
        print(f"zoo: {one_line(error)}", file=sys.stderr)
        return exit_code(error)
    return 0


def _origin(made: Supernet, teacher: str | None) -> dict[str, Any]:
    """How the cells of a network were found, and what taught it; nothing for the others."""
    found = {key: made.card.data[key] for key in ("cells", "teacher") if key in made.card.data}
    return found if teacher is None else {**found, "teacher": teacher}


def _object(path: Path) -> dict[str, Any]:
    try:
        document = read_plain_json(path.read_bytes())
    except ValueError as error:
        raise BadRequest(f"{path} is no JSON ({error})") from None
    if not isinstance(document, dict):
        raise BadRequest(f"{path} holds no JSON object; the evaluation is one")
    return document


SIDE_PX = 64  # statistics of colors and edges do not change above it
MAX_IMAGES = 8192  # means over more hardly change


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


if __name__ == "__main__":
    sys.exit(main())
