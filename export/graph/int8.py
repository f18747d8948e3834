"""Quantize: as much of a network in int8 as still answers as torch does, chosen by comparing.

Noise of int8 layers adds up at the output, and a few layers make most of it: often the first one, which sees pixels,
while many in the middle make next to none. So where the whole network in int8 differs too much, each short run of
layers is put into int8 alone, and those that make the most noise for their weights go back to float, as many as it
takes. It is the weights that count: what is int8 is a quarter of its size.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import create_calibrator, save_tensors_data
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from export.errors import InvalidGraph, UnusableInput, WriteFailed
from export.targets import INT8_LAYERS
from export.types import Calibrator, Comparison, ExportTarget, Quantization
from export.verify.compare import compare_outputs
from export.verify.outputs import artefact_outputs
from hardware_profiles.runners import OnnxRunner

# ruff: noqa: N803 - a tensor's name ends in its shape.


Array = npt.NDArray[Any]

CALIBRATORS: tuple[Calibrator, ...] = ("percentile", "minmax", "entropy")
MIN_IMAGES = 8  # below it a range is chance
# Ranges hardly change beyond; all images choose the calibrator and the layers.
_RANGE_IMAGES = 128
# Short runs of layers whose noise is measured, beside the first layer, and the images that show it.
_RUNS, _NOISE_IMAGES = 15, 64
# Of the error that the target allows: the worst of a few images says little about the worst of many.
_SHARE = 0.6
# A detector's head spans boxes in pixels and scores below 1: no scale of 256 steps holds both.
_FLOAT_HEAD_OUTPUTS = frozenset({"boxes", "scores", "masks"})
_BACKBONE, _HEAD = "/backbone/", "/head/"


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
        UnusableInput: fewer than 8 images.
        InvalidGraph: a graph without a layer that int8 exists for, or that ONNX Runtime cannot quantize.
    """
    if len(images_NCHW) < MIN_IMAGES:
        raise UnusableInput(f"{len(images_NCHW)} images cannot calibrate int8; give at least {MIN_IMAGES}")
    layers = quantizable(model)
    if not layers:
        raise InvalidGraph("the graph has no convolution or matrix product to put into int8; keep fp32")
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
    # A torchvision detector holds the backbone inside; elsewhere only the head has its name in its layers' names.
    return [n.name for n in products if not dense or _BACKBONE in n.name or _HEAD not in n.name]


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


# ruff: noqa: N803 - a tensor's name ends in its shape.


_METHODS = {
    "percentile": (CalibrationMethod.Percentile, {"percentile": 99.99, "symmetric": False}),
    "minmax": (CalibrationMethod.MinMax, {}),
    "entropy": (CalibrationMethod.Entropy, {}),
}
# All inner tensors of this many images are in memory at once.
_CHUNK = 16


class Quantizer:
    """A graph with its ranges measured, ready to be quantized in any of its layers.

    Args:
        model: fp32, with input ``input``; every node has a name.
        images_NCHW: preprocessed images; ranges are measured on all of them.
        batch: images in a run; the graph's own where that is fixed.

    Use it as a context manager: its files are temporary.
    """

    def __init__(self, model: onnx.ModelProto, images_NCHW: Array, *, batch: int) -> None:
        self._images_NCHW = images_NCHW
        self._batch = batch
        self._model = onnx.ModelProto()
        self._model.CopyFrom(model)
        add_pre_process_metadata(self._model)  # simplified already; without the mark the library would warn
        self._files = contextlib.ExitStack()

    def __enter__(self) -> Quantizer:
        """Write the graph where the library can read it."""
        with _full_disk_is_one_line():
            self._folder = Path(self._files.enter_context(tempfile.TemporaryDirectory(prefix="zoo-int8-")))
            self._path = self._folder / "model.onnx"
            onnx.save(self._model, self._path)
        return self

    def __exit__(self, *error: object) -> None:
        """Remove the files."""
        self._files.close()

    def quantized(self, layers: Sequence[str], calibrator: Calibrator) -> onnx.ModelProto:
        """Return the graph with these layers, by the names of their nodes, in int8.

        Raises:
            InvalidGraph: the library cannot quantize it.
            WriteFailed: no room for temporary files.
        """
        ranges = self._folder / f"{calibrator}.json"
        out = self._folder / "int8.onnx"
        try:
            with _quiet(), _full_disk_is_one_line():
                if not ranges.exists():
                    self._measure(calibrator, ranges)
                quantize_static(
                    self._path,
                    out,
                    None,
                    calibration_cache_path=ranges,
                    calibrate_method=_METHODS[calibrator][0],
                    quant_format=QuantFormat.QDQ,
                    op_types_to_quantize=list(INT8_LAYERS),
                    nodes_to_quantize=list(layers),
                    per_channel=True,
                    reduce_range=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                )
                result = onnx.load(out)
        except WriteFailed:
            raise
        except Exception as error:  # the library's errors share no base
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InvalidGraph(f"the graph cannot become int8: {reason}; export fp32 instead") from error
        return _like(result, self._model)

    def _measure(self, calibrator: Calibrator, path: Path) -> None:
        method, options = _METHODS[calibrator]
        tool = create_calibrator(
            self._path,
            list(INT8_LAYERS),
            augmented_model_path=str(self._folder / "probed.onnx"),
            calibrate_method=method,
            extra_options=options,
        )
        for start in range(0, len(self._images_NCHW), _CHUNK):
            tool.collect_data(_Batches(self._images_NCHW[start : start + _CHUNK], self._batch))
        save_tensors_data(tool.compute_data(), path)


class _Batches(CalibrationDataReader):  # type: ignore[misc]  # the library is not typed
    def __init__(self, images_NCHW: Array, batch: int) -> None:
        starts = range(0, len(images_NCHW), batch)
        parts = (images_NCHW[start : start + batch] for start in starts)
        self._feeds = iter([{"input": np.ascontiguousarray(part)} for part in parts if len(part) == batch])

    def get_next(self) -> dict[str, Array] | None:
        """The next batch."""
        return next(self._feeds, None)


def _like(result: onnx.ModelProto, model: onnx.ModelProto) -> onnx.ModelProto:
    """Nothing but the graph may change: the library leaves marks of its own."""
    props = {prop.key: prop.value for prop in model.metadata_props if not prop.key.startswith("onnx.")}
    onnx.helper.set_model_props(result, props)
    result.ir_version = model.ir_version
    result.doc_string = model.doc_string
    del result.graph.value_info[:]
    return result


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The library prints its progress on stdout, where data goes, and logs advice that was followed."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _full_disk_is_one_line() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        folder = tempfile.gettempdir()
        raise WriteFailed(f"could not write temporary files to {folder}: {error.strerror}; free some space") from error
