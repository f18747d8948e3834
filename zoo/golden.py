"""Golden tensors: an input and what the network made of it on the day it was packaged, to be replayed anywhere.

The input is seeded smooth noise, not an image of the user's: packages are published. (The comparison on real images is
in ``numerics.yaml``.)
"""

# ruff: noqa: N806 - a tensor's name ends in its shape.

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from export.batches import artefact_outputs
from export.compare import compare_outputs
from export.outputs import torch_outputs
from export.targets import TARGETS
from export.types import Comparison, ExportReport, Tolerance
from hardware_profiles.runners import OnnxRunner
from search.nets import Backbone
from zoo.errors import VerificationFailed
from zoo.outputs import AllOutputs

INPUT = "input"
_IMAGES = 4


def make_golden(backbone: Backbone, resolution_px: int) -> dict[str, Tensor]:
    """``input`` [4, 3, R, R] and every output of ``backbone`` for it: ``p0``, ``p1``, ..., ``embedding``."""
    generator = torch.Generator().manual_seed(0)
    coarse = F.interpolate(torch.randn(_IMAGES, 3, 4, 4, generator=generator), size=resolution_px, mode="bilinear")
    x_NCHW = coarse + 0.1 * torch.randn(_IMAGES, 3, resolution_px, resolution_px, generator=generator)
    outputs = torch_outputs(AllOutputs(backbone), x_NCHW)
    return {INPUT: x_NCHW, **{name: torch.from_numpy(output) for name, output in outputs.items()}}


def replay(backbone: Backbone, golden: Mapping[str, Tensor], reports: tuple[ExportReport, ...], folder: Path) -> None:
    """Run the network and all its artefacts on the golden input.

    Args:
        backbone: as loaded from the package.
        golden: what ``make_golden`` returned.
        reports: of the artefacts; their paths are relative to ``folder``.
        folder: the package.

    Raises:
        VerificationFailed: an output differs by more than the artefact's tolerance.
    """
    reference = {name: tensor.numpy() for name, tensor in golden.items() if name != INPUT}
    tolerance = TARGETS["edge"].tolerance
    found = torch_outputs(AllOutputs(backbone), golden[INPUT])
    _require("model.safetensors in torch", compare_outputs(reference, found, tolerance), tolerance)
    for report in reports:
        with OnnxRunner(folder / report.path, threads=report.threads) as runner:
            found = artefact_outputs(runner, golden[INPUT].numpy(), report.target)
        expected = {name: reference[name] for name in found if name in reference}
        tolerance = report.target.tolerance
        _require(report.path.as_posix(), compare_outputs(expected, found, tolerance), tolerance)


def _require(what: str, comparison: Comparison, tolerance: Tolerance) -> None:
    if comparison.passed:
        return
    worst = max(comparison.outputs, key=lambda output: output.relative_l2)
    raise VerificationFailed(
        f"{what} does not reproduce its golden output {worst.output!r}: relative L2 {worst.relative_l2:.2g} (at most"
        f" {tolerance.max_relative_l2:g}), cosine {worst.min_cosine:.6f} (at least {tolerance.min_cosine:g}): do not"
        " deploy it here; get the package again or report the versions that `zoo env` prints"
    )
