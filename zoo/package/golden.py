"""Golden tensors: an input and what the network made of it on the day it was packaged, to be replayed anywhere.

The input is seeded smooth noise, not an image of the user's: packages are published. (The comparison on real images is
in ``numerics.yaml``.)
"""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from export.targets import TARGETS
from export.types import Comparison, ExportReport, Tolerance
from export.verify.compare import compare_outputs
from export.verify.outputs import artefact_outputs, torch_outputs
from hardware_profiles.runners import OnnxRunner
from search.nets import Backbone
from zoo.errors import VerificationFailed
from zoo.heads.attach import AllOutputs
from zoo.names import printable

INPUT = "input"
_IMAGES = 4


def make_golden(backbone: Backbone, resolution_px: int) -> dict[str, Tensor]:
    """``input`` [4, 3, R, R] and every output of ``backbone`` for it: ``p0``, ``p1``, ..., ``embedding``."""
    generator = torch.Generator().manual_seed(0)
    coarse = F.interpolate(torch.randn(_IMAGES, 3, 4, 4, generator=generator), size=resolution_px, mode="bilinear")
    x_NCHW = coarse + 0.1 * torch.randn(_IMAGES, 3, resolution_px, resolution_px, generator=generator)
    outputs = torch_outputs(AllOutputs(backbone), x_NCHW)
    return {INPUT: x_NCHW, **{name: torch.from_numpy(output) for name, output in outputs.items()}}


def artefact_golden(golden: Mapping[str, Tensor], reports: Sequence[ExportReport], folder: Path) -> dict[str, Tensor]:
    """What each artefact that is not the bare backbone in fp32 made of the golden input.

    Args:
        golden: what ``make_golden`` returned.
        reports: of the artefacts; their paths are relative to ``folder``.
        folder: the package.

    Returns:
        Outputs by artefact and name, e.g. ``onnx/model_int8.onnx embedding``.
    """
    kept: dict[str, Tensor] = {}
    for report in reports:
        if _has_own_golden(report, golden):
            outputs = _run(report, golden[INPUT], folder)
            kept |= {f"{report.path.as_posix()} {name}": torch.from_numpy(value) for name, value in outputs.items()}
    return kept


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
    reference = {name: tensor.numpy() for name, tensor in golden.items() if name != INPUT and " " not in name}
    tolerance = TARGETS["edge"].tolerance
    found = torch_outputs(AllOutputs(backbone), golden[INPUT])
    _require("model.safetensors in torch", compare_outputs(reference, found, tolerance), tolerance)
    for report in reports:
        path = report.path.as_posix()
        found = _run(report, golden[INPUT], folder)
        if _has_own_golden(report, golden):
            own = {name: golden.get(f"{path} {name}") for name in found}
            expected = {name: tensor.numpy() for name, tensor in own.items() if tensor is not None}
        else:
            expected = {name: reference[name] for name in found if name in reference}
        # Four images of noise say nothing about what a task would see.
        tolerance = replace(report.target.tolerance, min_agreement=0.0)
        _require(path, compare_outputs(expected or reference, found, tolerance), tolerance)


def _has_own_golden(report: ExportReport, golden: Mapping[str, Tensor]) -> bool:
    """Whether the artefact is not the bare backbone in fp32."""
    has_head = any(output.output not in golden for output in report.comparison.outputs)
    return has_head or report.target.precision != "fp32" or report.target.uint8_input


def _run(report: ExportReport, x_NCHW: Tensor, folder: Path) -> dict[str, NDArray[Any]]:
    fed = x_NCHW.numpy()
    if report.target.uint8_input:  # any pixels do: the outputs are compared with those they gave before
        fed = np.ascontiguousarray((128 + 64 * fed).clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1))
    try:
        with OnnxRunner(folder / report.path, threads=report.threads) as runner:
            return artefact_outputs(runner, fed, report.target)
    except Exception as error:  # the runtime's exceptions have no base of their own
        reason = printable(str(error))
        raise VerificationFailed(f"{report.path.as_posix()} cannot be run here: {reason}; get it again") from None


def _require(what: str, comparison: Comparison, tolerance: Tolerance) -> None:
    if comparison.passed:
        return
    worst = max(comparison.outputs, key=lambda output: output.relative_l2)
    raise VerificationFailed(
        f"{what} does not reproduce its golden output {worst.output!r}: relative L2 {worst.relative_l2:.2g} (at most"
        f" {tolerance.max_relative_l2:g}), cosine {worst.min_cosine:.6f} (at least {tolerance.min_cosine:g}): do not"
        " deploy it here; get the package again or report the versions that `zoo env` prints"
    )
