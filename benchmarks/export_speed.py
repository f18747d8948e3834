"""How fast is exporting, and what is exported? Run it on a quiet machine.

    python benchmarks/export_speed.py --images DIR [--net mobile] [--subnets 5] [--threads 1]

For each of some random subnets: seconds for all artefacts of `edge` (at most 60), milliseconds of the fp32 artefact
against the same network exported straight by `torch.onnx.export` and onnxslim (median ratio at most 1.02), and of int8
and fp16 against fp32. The two fp32 files are timed in turns, so that what else the machine does hits both.
"""

import argparse
import io
import json
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxslim
import torch

from export import DELIVERIES, Preprocess, deliver, metadata_props, target_at
from hardware_profiles import OnnxRunner, time_runners
from search.images.read import read_images
from search.images.views import IMAGENET_MEAN, IMAGENET_STD, center
from search.nets import NETS, Backbone
from search.recalibrate import recalibrate
from search.types import Architecture
from zoo.supernets import read_supernet, supernet_folders


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--net", default="mobile", choices=list(NETS))
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--subnets", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=32)
    args = parser.parse_args()
    px = args.resolution
    found = read_images(args.images, size_px=px, limit=1000)
    images = center(found.pixels, px, IMAGENET_MEAN, IMAGENET_STD).contiguous()
    how = Preprocess(size_px=(px, px), mean=IMAGENET_MEAN, std=IMAGENET_STD)
    rng = np.random.default_rng(0)
    good, ratios = True, []
    for i in range(args.subnets):
        net = network(NETS[args.net].random(px, rng), images[:512], seed=i)
        with tempfile.TemporaryDirectory() as scratch:
            started = time.perf_counter()
            delivered = deliver(
                net,
                images[::2],
                target=target_at("edge", px),
                delivery=DELIVERIES["edge"],
                out=Path(scratch),
                name="benchmark",
                metadata=metadata_props(how, name="benchmark", net=args.net, architecture="[]"),
                device="this",
                threads=args.threads,
                calibration_NCHW=images[1::2],
            )
            seconds = time.perf_counter() - started
            plain = Path(scratch) / "plain.onnx"
            plain.write_bytes(straight(net, px))
            files = {"plain": plain, **{report.target.precision: report.path for report in delivered.reports}}
            x = {"input": images[:1].numpy()}
            subjects = [(partial(OnnxRunner, file, threads=args.threads), x) for file in files.values()]
            latencies = time_runners(subjects, rounds=args.rounds)
        ms = {name: latency.median_ms for name, latency in zip(files, latencies, strict=True)}
        ratio = ms["fp32"] / ms["plain"]
        good &= seconds <= 60
        ratios.append(ratio)
        shares = {r.target.precision: r.quantization.int8_weights for r in delivered.reports if r.quantization}
        result = {
            "net": args.net,
            "subnet": i,
            "export_seconds": round(seconds, 1),
            **{f"{name}_ms": round(value, 4) for name, value in ms.items()},
            "fp32_to_plain": round(ratio, 4),
            **{f"{name}_to_fp32": round(ms[name] / ms["fp32"], 3) for name in ("int8", "fp16") if name in ms},
            "int8_weights": shares.get("int8"),
            "refused": list(delivered.refused),
        }
        print(json.dumps(result), flush=True)
    print(json.dumps({"net": args.net, "median_fp32_to_plain": round(float(np.median(ratios)), 4)}))
    return 0 if good and np.median(ratios) <= 1.02 else 1


def straight(net: torch.nn.Module, px: int) -> bytes:
    """What a user without this project would write."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            (torch.zeros(1, 3, px, px),),
            file,  # type: ignore[arg-type]
            input_names=["input"],
            output_names=["output"],
            opset_version=17,
            dynamo=False,
        )
    return bytes(onnxslim.slim(onnx.load_from_string(file.getvalue())).SerializeToString())


def network(
    architecture: Architecture, images_NCHW: torch.Tensor, *, supernet: str | None = None, seed: int = 0
) -> Backbone:
    """The network with the statistics of the images."""
    asked = supernet or next((name for name in supernet_folders() if name.startswith(f"{architecture.net}-")), None)
    if asked is not None:
        backbone = read_supernet(asked).supernet.subnet(architecture)
    else:
        torch.manual_seed(seed)
        backbone = NETS[architecture.net].build(architecture)
        for part in backbone.modules():  # scales of 0 would leave nothing but the shortcuts
            if isinstance(part, torch.nn.BatchNorm2d) and not part.weight.any():
                torch.nn.init.constant_(part.weight, 0.5)
    recalibrate(backbone, torch.split(images_NCHW, 128))
    return backbone


if __name__ == "__main__":
    sys.exit(main())
