"""Quantize: as much of a network in int8 as still answers as torch does, chosen by comparing.

Noise of int8 layers adds up at the output, and a few layers make most of it: often the first one, which sees pixels,
while many in the middle make next to none. So where the whole network in int8 differs too much, each short run of
layers is put into int8 alone, and those that make the most noise for their weights go back to float, as many as it
takes. It is the weights that count: what is int8 is a quarter of its size.
"""

# ruff: noqa: N803 - a tensor's name ends in its shape.

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from export.batches import artefact_outputs
from export.compare import compare_outputs
from export.errors import UnusableInput
from export.qdq import Quantizer
from export.targets import INT8_LAYERS
from export.types import Calibrator, Comparison, ExportTarget, Quantization
from hardware_profiles.runners import OnnxRunner

Array = npt.NDArray[Any]

CALIBRATORS: tuple[Calibrator, ...] = ("percentile", "minmax", "entropy")
MIN_IMAGES = 8
# Ranges hardly change beyond; all images choose the calibrator and the layers.
_RANGE_IMAGES = 128
# Short runs of layers whose noise is measured, beside the first layer, and the images that show it.
_RUNS, _NOISE_IMAGES = 15, 64
# Of the error that the target allows: the worst of a few images says little about the worst of many.
_SHARE = 0.6
# A detector's head spans boxes in pixels and scores below 1: no scale of 256 steps holds both.
_FLOAT_HEAD_OUTPUTS = frozenset({"boxes", "scores", "masks"})
_BACKBONE = "/backbone/"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Trial:
    """A graph with some layers in int8, and how it did."""

    model: onnx.ModelProto
    layers: Sequence[str]
    comparison: Comparison

    @property
    def error(self) -> float:
        """Mean relative L2 over outputs."""
        return float(np.mean([output.relative_l2 for output in self.comparison.outputs]))


class _Trials:
    """Puts layers into int8 and compares.

    All calibration images are compared, those that gave the ranges too: neighbours agree less the more images there
    are to choose from, so as many are needed here as the final comparison will have.
    """

    def __init__(
        self, quantizer: Quantizer, images_NCHW: Array, reference: Mapping[str, Array], target: ExportTarget
    ) -> None:
        self._quantizer = quantizer
        self._images_NCHW = images_NCHW
        self._reference = reference
        self._target = target

    def attempt(self, layers: Sequence[str], calibrator: Calibrator, *, images: int | None = None) -> _Trial:
        """These layers in int8, compared on the first ``images``."""
        graph = self._quantizer.quantized(layers, calibrator)
        with OnnxRunner(graph.SerializeToString(), threads=1) as runner:
            outputs = artefact_outputs(runner, self._images_NCHW[:images], self._target)
        reference = {name: output[:images] for name, output in self._reference.items()}
        comparison = compare_outputs(reference, outputs, self._target.tolerance)
        return _Trial(model=graph, layers=layers, comparison=comparison)


def quantize(
    model: onnx.ModelProto, images_NCHW: Array, reference: Mapping[str, Array], target: ExportTarget
) -> tuple[onnx.ModelProto, Quantization]:
    """Return ``model`` in int8, and how much of it is.

    Args:
        model: fp32, as ``make_onnx`` makes it.
        images_NCHW: calibration images, preprocessed, ``[N, C, H, W]``; not those of the final comparison.
        reference: torch's outputs for them.
        target: its tolerance must be met on them. Where not even one layer meets it, the whole network is in int8,
            and the final comparison will say so.

    Raises:
        UnusableInput: fewer than 8 images, or a graph without a layer that int8 exists for.
        InvalidGraph: ONNX Runtime cannot quantize the graph.
    """
    if len(images_NCHW) < MIN_IMAGES:
        raise UnusableInput(f"{len(images_NCHW)} images cannot calibrate int8; give at least {MIN_IMAGES}")
    layers = quantizable(model)
    if not layers:
        raise UnusableInput("the graph has no convolution or matrix product to put into int8; export fp32 instead")
    ranged = min(_RANGE_IMAGES, len(images_NCHW) // 2)
    batch = 1 if target.dynamic_batch else target.input_nchw[0]
    with Quantizer(model, images_NCHW[:ranged], batch=batch) as quantizer:
        trials = _Trials(quantizer, images_NCHW, reference, target)
        errors = {name: trials.attempt(layers, name, images=_NOISE_IMAGES).error for name in CALIBRATORS}
        calibrator = min(CALIBRATORS, key=lambda name: errors[name])
        best = trials.attempt(layers, calibrator)
        if not _passes_safely(best.comparison, target):
            best = _most(trials, _quietest_first(trials, model, layers, calibrator), calibrator, target) or best
    return best.model, Quantization(
        calibrator=calibrator,
        images=len(images_NCHW),
        int8_layers=len(best.layers),
        layers=len(_products(model)),
        int8_weights=_weights(model, best.layers) / _weights(model, [node.name for node in _products(model)]),
    )


def quantizable(model: onnx.ModelProto) -> list[str]:
    """Names of the layers that may become int8, in order; those of a detector's or a segmenter's head may not."""
    products = _products(model)
    dense = _FLOAT_HEAD_OUTPUTS & {output.name for output in model.graph.output}
    return [node.name for node in products if not dense or _BACKBONE in node.name]


def _quietest_first(
    trials: _Trials, model: onnx.ModelProto, layers: Sequence[str], calibrator: Calibrator
) -> list[Sequence[str]]:
    """Runs of consecutive layers, those that make the least noise for their weights first."""
    length = -(-(len(layers) - 1) // _RUNS) or 1
    runs = [layers[:1], *(layers[start : start + length] for start in range(1, len(layers), length))]
    noise = [trials.attempt(run, calibrator, images=_NOISE_IMAGES).error ** 2 / _weights(model, run) for run in runs]
    return [runs[i] for i in np.argsort(noise, kind="stable")]


def _most(
    trials: _Trials, runs: Sequence[Sequence[str]], calibrator: Calibrator, target: ExportTarget
) -> _Trial | None:
    """The trial with the most of the runs, from the first on, that passes; by bisection. None where not one does."""
    passing, low, high = None, 0, len(runs)  # `low` runs pass, `high` do not
    while high - low > 1:
        middle = (low + high) // 2
        trial = trials.attempt(list(itertools.chain.from_iterable(runs[:middle])), calibrator)
        if _passes_safely(trial.comparison, target):
            passing, low = trial, middle
        else:
            high = middle
    return passing


def _passes_safely(comparison: Comparison, target: ExportTarget) -> bool:
    """Passes with room to spare: other images will judge, and the best of several trials flatters."""
    needed = target.tolerance
    standard_error = math.sqrt(needed.min_agreement * (1 - needed.min_agreement) / comparison.images)
    seen = comparison.agreement
    return all(
        1 - output.min_cosine <= _SHARE * (1 - needed.min_cosine)
        and output.relative_l2 <= _SHARE * needed.max_relative_l2
        for output in comparison.outputs
    ) and (seen is None or seen >= min(1.0, needed.min_agreement + 2 * standard_error))


def _products(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    weights = {weight.name for weight in model.graph.initializer}
    return [node for node in model.graph.node if node.op_type in INT8_LAYERS and node.input[1] in weights]


def _weights(model: onnx.ModelProto, layers: Sequence[str]) -> int:
    sizes = {weight.name: math.prod(weight.dims) for weight in model.graph.initializer}
    return sum(sizes[node.input[1]] for node in _products(model) if node.name in set(layers))
