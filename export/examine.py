"""Examine: run the very file that will be delivered, compare it with torch, time it."""

# ruff: noqa: N803 - a tensor's name ends in its shape.

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.batches import artefact_outputs
from export.compare import compare_outputs
from export.errors import InvalidGraph
from export.pixels import to_pixels
from export.types import Comparison, ExportTarget, Preprocess
from hardware_profiles import Latency
from hardware_profiles.runners import OnnxRunner
from hardware_profiles.timing import time_runners

Array = npt.NDArray[Any]


def examine(
    path: Path,
    images_NCHW: Array,
    reference: Mapping[str, Array],
    *,
    target: ExportTarget,
    preprocess: Preprocess,
    threads: int,
    time: bool,
) -> tuple[Comparison, Latency | None]:
    """Compare an artefact with torch and, where it is right, time it.

    Args:
        path: the artefact, an ``.onnx`` or ``.ort`` file.
        images_NCHW: preprocessed images.
        reference: torch's outputs for them.
        target: what the artefact should be.
        preprocess: how the images were made of pixels, for an artefact that takes pixels.
        threads: of the runtime.
        time: measure one call at the target's batch size.

    Raises:
        InvalidGraph: the runtime cannot run it.
        UnusableInput: the artefact takes pixels, and no pixels give these images.
    """
    fed = to_pixels(images_NCHW, preprocess) if target.uint8_input else images_NCHW
    try:
        with OnnxRunner(path, threads=threads) as runner:
            candidate = artefact_outputs(runner, fed, target)
        comparison = compare_outputs(reference, candidate, target.tolerance)
        if not (time and comparison.passed):
            return comparison, None
        # The way whole networks are timed for the latency tables, so that both times mean the same.
        inputs = {"input": np.resize(fed, (target.input_nchw[0], *fed.shape[1:]))}
        (measured,) = time_runners([(lambda: OnnxRunner(path, threads=threads), inputs)])
    except Exception as error:  # the runtime's own errors share no base; all say that it cannot run this graph
        reason = " ".join(str(error).split())
        raise InvalidGraph(f"ONNX Runtime cannot run the artefact: {reason}; change the layer it names") from error
    return comparison, measured
