"""One int8 graph by ONNX Runtime: ``QuantizeLinear`` and ``DequantizeLinear`` around chosen layers.

Weights are symmetric, one scale a channel, in 7 of their 8 bits: processors without VNNI add two products of 8 by 8
bits in 16, and saturate. Activations are unsigned with a zero point, which gives what a ReLU leaves all 256 steps.
Source: ONNX Runtime documentation, "Quantize ONNX Models".
"""

# ruff: noqa: N803 - a tensor's name ends in its shape.

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import create_calibrator, save_tensors_data
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from export.errors import InvalidGraph, WriteFailed
from export.targets import INT8_LAYERS
from export.types import Calibrator

Array = npt.NDArray[Any]

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
