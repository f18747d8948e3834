"""Preprocessing inside the graph: pixels in, so that a client in C++ or JavaScript needs no normalization code."""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.errors import UnusableInput
from export.types import Preprocess

Array = npt.NDArray[Any]

_NORMALIZED = "normalized_pixels"
# How far, in gray levels, an image may be from one that was made of pixels.
_MOST_OFF = 0.05


def take_pixels(model: onnx.ModelProto, preprocess: Preprocess) -> onnx.ModelProto:
    """Return a copy of ``model`` whose input is uint8 RGB ``[N, H, W, 3]``; it keeps its name.

    Args:
        model: its input is float32 ``[N, 3, H, W]``.
        preprocess: what the graph then does itself, ``(uint8 * scale - mean) / std``; cropping and resizing to
            ``size_px`` stays the client's.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    (image,) = result.graph.input
    name, (n, c, h, w) = image.name, [dim.dim_param or dim.dim_value for dim in image.type.tensor_type.shape.dim]
    for node in result.graph.node:
        node.input[:] = [_NORMALIZED if value == name else value for value in node.input]
    mean, std = (np.asarray(value, np.float32) for value in (preprocess.mean, preprocess.std))
    constants = {"pixels_factor": np.float32(preprocess.scale) / std, "pixels_shift": -mean / std}
    result.graph.initializer.extend(
        numpy_helper.from_array(value.reshape(1, 3, 1, 1), key) for key, value in constants.items()
    )
    before = [
        helper.make_node("Cast", [name], ["pixels_float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels_float"], ["pixels_nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["pixels_nchw", "pixels_factor"], ["pixels_scaled"]),
        helper.make_node("Add", ["pixels_scaled", "pixels_shift"], [_NORMALIZED]),
    ]
    nodes = [*before, *result.graph.node]
    del result.graph.node[:], result.graph.input[:]
    result.graph.node.extend(nodes)
    result.graph.input.append(helper.make_tensor_value_info(name, TensorProto.UINT8, [n, h, w, c]))
    result.graph.input[0].doc_string = "RGB images, NHWC, uint8; the graph normalizes them itself."
    return result


def to_pixels(images_NCHW: Array, preprocess: Preprocess) -> Array:
    """Return the pixels, uint8 ``[N, H, W, 3]``, that ``preprocess`` turned into ``images_NCHW``.

    Raises:
        UnusableInput: no pixels give these images.
    """
    mean, std = (np.asarray(value, np.float32).reshape(1, 3, 1, 1) for value in (preprocess.mean, preprocess.std))
    levels_NCHW = (images_NCHW * std + mean) / np.float32(preprocess.scale)
    rounded_NCHW = np.rint(levels_NCHW).clip(0, 255)
    off = float(np.abs(levels_NCHW - rounded_NCHW).max())
    if off > _MOST_OFF:
        raise UnusableInput(
            f"the images are up to {off:.2g} gray levels from any pixels, so a graph that takes pixels cannot be"
            " compared on them; give images that were made by the same preprocessing"
        )
    return np.ascontiguousarray(rounded_NCHW.astype(np.uint8).transpose(0, 2, 3, 1))
