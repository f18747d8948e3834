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
from torch import Tensor, nn
from torch.nn import functional as F

from export.errors import ExportError
from export.formats.onnx_file import check_self_contained, read_onnx
from export.targets import TOLERANCES
from export.types import Comparison, ExportReport, Preprocess, Tolerance
from export.verify.compare import compare_outputs
from export.verify.contained import ContainedRunner, GraphError
from export.verify.outputs import artefact_outputs, torch_outputs
from hardware_profiles.types import Precision
from zoo.errors import VerificationFailed
from zoo.names import printable

INPUT = "input"
_IMAGES = 4  # enough to notice a swapped batch, and small in a package
# What the golden noise may look like to an artefact of each precision, against the weights in torch. Ranges of int8
# were chosen on pictures: noise leaves them, so that less is asked.
_NOISE: Mapping[Precision, Tolerance] = {
    "fp32": replace(TOLERANCES["fp32"], min_agreement=0.0),
    "fp16": replace(TOLERANCES["fp16"], min_agreement=0.0),
    "int8": Tolerance(min_cosine=0.8, max_relative_l2=0.6),
}


def make_golden(network: nn.Module, size_px: tuple[int, int]) -> dict[str, Tensor]:
    """``input`` [4, 3, *size_px] and every output of ``network`` for it, by name."""
    generator = torch.Generator().manual_seed(0)
    coarse = F.interpolate(torch.randn(_IMAGES, 3, 4, 4, generator=generator), size=size_px, mode="bilinear")
    x_NCHW = coarse + 0.1 * torch.randn(_IMAGES, 3, *size_px, generator=generator)
    outputs = torch_outputs(network, x_NCHW)
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


def replay(
    network: nn.Module,
    golden: Mapping[str, Tensor],
    reports: tuple[ExportReport, ...],
    folder: Path,
    preprocess: Preprocess,
) -> None:
    """Run the network and all its artefacts on the golden input.

    What is right is decided by the network's weights and by tolerances of ours, and the artefacts run in processes of
    bounded time and memory: the package may be a stranger's. What a head adds is compared with the package's own
    golden outputs, for nothing else is known of it.

    Args:
        network: as loaded from the package, with all its outputs by name.
        golden: what ``make_golden`` returned.
        reports: of the artefacts; their paths are relative to ``folder``.
        folder: the package.
        preprocess: what an artefact that takes pixels does with them.

    Raises:
        VerificationFailed: an output differs by more than an artefact of its precision may, or cannot be had.
    """
    x_NCHW, size_px = golden[INPUT], preprocess.size_px
    if x_NCHW.dtype != torch.float32 or tuple(x_NCHW.shape) != (_IMAGES, 3, *size_px):
        found = f"{str(x_NCHW.dtype).removeprefix('torch.')} {list(x_NCHW.shape)}"
        raise VerificationFailed(f"the golden input is {found}, not float32 {[_IMAGES, 3, *size_px]}; get it again")
    stored = {name: tensor.numpy() for name, tensor in golden.items() if name != INPUT and " " not in name}
    tolerance = TOLERANCES["fp32"]
    reference = torch_outputs(network, x_NCHW)
    _require("model.safetensors in torch", compare_outputs(stored, reference, tolerance), tolerance)
    for report in reports:
        path = report.path.as_posix()
        precision = _checked_precision(report, folder)
        made = _run(report, x_NCHW, folder)
        # Four images of noise say nothing about what a task would see.
        tolerance = replace(TOLERANCES[precision], min_agreement=0.0)
        if own := {name: golden[f"{path} {name}"].numpy() for name in made if f"{path} {name}" in golden}:
            _require(path, compare_outputs(own, made, tolerance), tolerance)
        expected = reference
        if report.target.uint8_input:
            expected = torch_outputs(network, _as_images(_as_pixels(x_NCHW), preprocess))
        names = [name for name in made if name in expected]
        if not names and not own:
            raise VerificationFailed(f"{path} has no output that the package's network has; do not deploy it")
        if names:
            loose = _NOISE[precision]
            both = compare_outputs({n: expected[n] for n in names}, {n: made[n] for n in names}, loose)
            _require(path, both, loose)


def _checked_precision(report: ExportReport, folder: Path) -> Precision:
    """The artefact's precision, by its graph; a graph that reads other files or other libraries is refused."""
    if report.path.suffix != ".onnx":
        return report.target.precision
    path = report.path.as_posix()
    try:
        check_self_contained(folder / report.path)
        precision = read_onnx(folder / report.path).precision
    except ExportError as error:
        raise VerificationFailed(f"{path} is refused: {printable(str(error))}") from None
    if precision != report.target.precision:
        declared = report.target.precision
        raise VerificationFailed(f"{path} computes in {precision}, and its report says {declared}; get it again")
    return precision


def _has_own_golden(report: ExportReport, golden: Mapping[str, Tensor]) -> bool:
    """Whether the artefact is not the bare backbone in fp32."""
    has_head = any(output.output not in golden for output in report.comparison.outputs)
    return has_head or report.target.precision != "fp32" or report.target.uint8_input


def _as_pixels(x_NCHW: Tensor) -> NDArray[np.uint8]:
    """Any pixels do: what counts is that torch gets the same."""
    pixels = (128 + 64 * x_NCHW.numpy()).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))


def _as_images(pixels_NHWC: NDArray[np.uint8], preprocess: Preprocess) -> Tensor:
    scaled = torch.from_numpy(pixels_NHWC).permute(0, 3, 1, 2).float() * preprocess.scale
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocess.mean, preprocess.std))
    return ((scaled - mean) / std).contiguous()


def _run(report: ExportReport, x_NCHW: Tensor, folder: Path) -> dict[str, NDArray[Any]]:
    fed = _as_pixels(x_NCHW) if report.target.uint8_input else x_NCHW.numpy()
    try:
        with ContainedRunner(folder / report.path, input_bytes=fed.nbytes) as runner:
            return artefact_outputs(runner, fed, report.target)
    except GraphError as error:
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
