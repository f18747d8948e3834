"""How exact are exported networks? Random subnets of a net, all precisions, against torch on real images.

    python benchmarks/export_fidelity.py --images DIR [--net mobile] [--subnets 20] [--compared 500]

One line a subnet and precision, then a summary. `mobile` networks are cut from the bundled supernet, those of other
nets are freshly drawn; all get the statistics of the images first. Exits with 1 where an fp32 or fp16 artefact fails;
int8 may be refused, which is counted. Every task's outputs are compared: `--task det` exports the maps as well.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from networks import network

from export import ComparisonFailed, ExportReport, Preprocess, metadata_props, target_at, with_precision
from export.artefact import export
from search.images.read import read_images
from search.images.views import IMAGENET_MEAN, IMAGENET_STD, center
from search.nets import NETS, Backbone
from search.types import Architecture, Task
from zoo.heads.attach import deployed

PRECISIONS = ("fp32", "fp16", "int8")
CALIBRATED = 500


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--net", default="mobile", choices=list(NETS))
    parser.add_argument("--supernet", help="name or folder; default: the bundled one of the net, where there is one")
    parser.add_argument("--task", default="cls", choices=[str(task) for task in Task])
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--subnets", type=int, default=20)
    parser.add_argument("--compared", type=int, default=500)
    parser.add_argument("--precision", action="append", choices=PRECISIONS, help="may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    found = read_images(args.images, size_px=args.resolution, limit=args.compared + CALIBRATED)
    images = center(found.pixels, args.resolution, IMAGENET_MEAN, IMAGENET_STD).contiguous()
    compared, calibration = images[::2][: args.compared], images[1::2]
    if len(compared) < args.compared:  # an odd split: what is left over calibrates
        shuffled = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))]
        compared, calibration = shuffled[: args.compared], shuffled[args.compared :]
    rng = np.random.default_rng(args.seed)
    reports: list[ExportReport] = []
    for i in range(args.subnets):
        architecture = NETS[args.net].random(args.resolution, rng)
        backbone = network(architecture, calibration, supernet=args.supernet, seed=args.seed)
        for precision in args.precision or PRECISIONS:
            report = artefact(backbone, architecture, Task(args.task), precision, compared, calibration)
            reports.append(report)
            print(json.dumps({"subnet": i, **row(report)}), flush=True)
    print(json.dumps({"net": args.net, "task": args.task, "images": len(compared), **summary(reports)}))
    exact = [report for report in reports if report.target.precision != "int8"]
    return 0 if all(report.comparison.passed for report in exact) else 1


def artefact(
    backbone: Backbone,
    architecture: Architecture,
    task: Task,
    precision: str,
    compared: torch.Tensor,
    calibration: torch.Tensor,
) -> ExportReport:
    px = architecture.resolution_px
    how = Preprocess(size_px=(px, px), mean=IMAGENET_MEAN, std=IMAGENET_STD)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            return export(
                deployed(backbone, task),
                compared,
                target=with_precision(target_at("edge", px), precision),
                path=Path(scratch) / "model.onnx",
                metadata=metadata_props(how, name="benchmark", net=architecture.net, architecture="[]"),
                predicted_ms=None,
                device="this",
                threads=1,
                time=False,
                calibration_NCHW=calibration,
            )
        except ComparisonFailed as failed:
            return failed.report


def row(report: ExportReport) -> dict[str, object]:
    outputs, how = report.comparison.outputs, report.quantization
    return {
        "precision": report.target.precision,
        "passed": report.comparison.passed,
        "cosine": round(min(output.min_cosine for output in outputs), 7),
        "relative_l2": float(f"{max(output.relative_l2 for output in outputs):.3g}"),
        "neighbours": report.comparison.neighbour_agreement,
        "bytes": report.bytes,
        **({"calibrator": how.calibrator, "int8_weights": round(how.int8_weights, 3)} if how else {}),
    }


def summary(reports: list[ExportReport]) -> dict[str, object]:
    result: dict[str, object] = {}
    for precision in dict.fromkeys(report.target.precision for report in reports):
        own = [report for report in reports if report.target.precision == precision]
        passed = [report for report in own if report.comparison.passed]
        result[precision] = {
            "passed": f"{len(passed)} of {len(own)}",
            "lowest_cosine": min((row(report)["cosine"] for report in passed), default=None),
            "largest_relative_l2": max((row(report)["relative_l2"] for report in passed), default=None),
            "mean_neighbours": _mean([report.comparison.neighbour_agreement for report in passed]),
            "mean_int8_weights": _mean([r.quantization.int8_weights if r.quantization else None for r in passed]),
        }
    return result


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 4) if known else None


if __name__ == "__main__":
    sys.exit(main())
