"""Build a device kit: every model of a plan as ONNX, and a program that needs only Python, numpy and onnxruntime."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from hardware_profiles.errors import BadKit
from hardware_profiles.measure.models import Bench, Network, Progress, set_up
from hardware_profiles.measure.runtimes import onnx_files
from hardware_profiles.replace_file import replaced
from hardware_profiles.runners import OnnxRunner
from hardware_profiles.types import OpKey, Precision

SCHEMA = 1
_PROGRAM = {
    "__main__.py": Path(__file__).with_name("script.py"),
    "rounds.py": Path(__file__).parents[1] / "timing" / "rounds.py",
}
# Weights repeat after this many numbers: they compress to a hundredth, and no runtime is faster for it.
_PERIOD = 509
_DATE = (1980, 1, 1, 0, 0, 0)


def build_kit(
    blocks: Mapping[OpKey, Callable[[], nn.Module]],
    networks: Sequence[Network],
    path: Path,
    *,
    net: str,
    resolution_px: int,
    calibrate_on: int,
    light_blocks: bool = False,
    precision: Precision = "fp32",
    batch: int = 1,
    seed: int = 0,
    progress: Progress = lambda stage, done, of: None,
) -> Path:
    """Write a kit to ``path``, in one step; same arguments, same bytes. See ``measure_table`` for the others.

    int8 models have signed activations, which ARM likes; on x86 they run slower than they could.

    Raises:
        MeasureFailed: no network to calibrate on, or one with a block that is not in ``blocks``.
        BadKit: ``path`` cannot be written.
    """
    with TemporaryDirectory(prefix="kit-") as folder:
        bench = set_up(
            blocks,
            networks,
            net=net,
            resolution_px=resolution_px,
            batch=batch,
            calibrate_on=calibrate_on,
            empty_twice=light_blocks or precision == "int8",
            prepare=onnx_files(partial(OnnxRunner, threads=1), precision, "signed"),
            folder=Path(folder),
            seed=seed,
            fill=_repeat_weights,
            progress=progress,
        )
        try:
            with replaced(path) as draft, zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as kit:
                _fill(kit, bench, precision, batch)
        except OSError as error:
            raise BadKit(f"{path}: cannot be written: {error.strerror}; choose another place") from error
    return path


def _fill(kit: zipfile.ZipFile, bench: Bench, precision: Precision, batch: int) -> None:
    def add(name: str, content: bytes) -> None:
        kit.writestr(zipfile.ZipInfo(name, _DATE), content, zipfile.ZIP_DEFLATED)

    for name, source in _PROGRAM.items():
        add(name, source.read_bytes())
    models = []
    for i, (name, (opener, inputs)) in enumerate(bench.subjects.items()):
        assert isinstance(opener, partial), "onnx_files binds the runner to its file"
        (images,) = inputs.values()
        models.append({"name": name, "file": f"models/{i}.onnx", "input": list(images.shape)})
        add(f"models/{i}.onnx", opener.args[0].read_bytes())
    plan = bench.plan
    about = {
        "schema": SCHEMA,
        "net": plan.net,
        "resolution_px": plan.resolution_px,
        "precision": precision,
        "batch": batch,
        "calibrate_on": plan.calibrate_on,
        "empty_twice": plan.empty_twice,
        "blocks": [{"op": str(key), "input": before, "output": after} for key, (before, after) in plan.blocks.items()],
        "networks": [[str(key) for key in ops] for ops in plan.networks],
    }
    about["id"] = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
    add("kit.json", json.dumps(about | {"models": models}).encode())


def _repeat_weights(module: nn.Module) -> None:
    """Random weights that repeat, of the size that keeps maps alive; normalizations alike in all channels."""
    pattern = torch.randn(_PERIOD)
    pattern = (pattern - pattern.mean()) / pattern.std()
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            repeats = pattern.repeat(math.ceil(part.weight.numel() / _PERIOD))
            fan_in = part.weight[0].numel()
            part.weight.copy_(repeats[: part.weight.numel()].view_as(part.weight) * math.sqrt(2 / fan_in))
        elif isinstance(part, nn.BatchNorm2d) and part.affine:
            nn.init.constant_(part.weight, 0.75)
            nn.init.constant_(part.bias, 0.1)
