"""NMS: nodes inside an ONNX graph that select the boxes which remain of all that a detector proposes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.errors import UnusableInput
from export.verify.detections import DETECTIONS, MAX_IOU, MIN_SCORE, MOST

Array = npt.NDArray[Any]


def append_nms(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of ``model`` with the output ``detections`` behind ``boxes`` and ``scores``, for a batch of 1.

    Raises:
        UnusableInput: it has no such outputs.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    names = [output.name for output in result.graph.output]
    if not {"boxes", "scores"} <= set(names):
        raise UnusableInput(f"boxes can be selected from outputs 'boxes' and 'scores'; the module has {names}")
    integers = {"nms_most": MOST, "nms_one": 1, "nms_two": 2, "nms_first": 0, "nms_end": 3, "nms_axis": 1}
    constants: dict[str, Array] = {
        **{key: np.array([value], np.int64) for key, value in integers.items()},
        "nms_iou": np.array([MAX_IOU], np.float32),
        "nms_score": np.array([MIN_SCORE], np.float32),
        "nms_none": np.zeros((MOST, 6), np.float32),
        "nms_score_at": np.array(4, np.int64),
    }
    result.graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in constants.items())
    result.graph.node.extend(_nms_nodes())
    result.graph.output.append(helper.make_tensor_value_info(DETECTIONS, TensorProto.FLOAT, [1, MOST, 6]))
    result.graph.output[-1].doc_string = "x0, y0, x1, y1 in pixels, score, class; best first, then zeros."
    return result


def _nms_nodes() -> list[onnx.NodeProto]:
    node = helper.make_node
    return [
        node("Transpose", ["scores"], ["nms_scores"], perm=[0, 2, 1]),
        node("NonMaxSuppression", ["boxes", "nms_scores", "nms_most", "nms_iou", "nms_score"], ["nms_chosen"]),
        node("Slice", ["nms_chosen", "nms_one", "nms_two", "nms_axis"], ["nms_class"]),
        node("Slice", ["nms_chosen", "nms_two", "nms_end", "nms_axis"], ["nms_box"]),
        node("Concat", ["nms_box", "nms_class"], ["nms_box_class"], axis=1),
        node("Squeeze", ["scores", "nms_first"], ["nms_scores_AC"]),
        node("Squeeze", ["boxes", "nms_first"], ["nms_boxes_A4"]),
        node("GatherND", ["nms_scores_AC", "nms_box_class"], ["nms_score_D"]),
        node("Unsqueeze", ["nms_score_D", "nms_one"], ["nms_score_D1"]),
        node("Squeeze", ["nms_box", "nms_one"], ["nms_box_D"]),
        node("Gather", ["nms_boxes_A4", "nms_box_D"], ["nms_box_D4"]),
        node("Cast", ["nms_class"], ["nms_class_D1"], to=TensorProto.FLOAT),
        node("Concat", ["nms_box_D4", "nms_score_D1", "nms_class_D1"], ["nms_found"], axis=1),
        node("Concat", ["nms_found", "nms_none"], ["nms_padded"], axis=0),
        node("Gather", ["nms_padded", "nms_score_at"], ["nms_order_by"], axis=1),
        node("TopK", ["nms_order_by", "nms_most"], ["nms_best_scores", "nms_best"], axis=0),
        node("Gather", ["nms_padded", "nms_best"], ["nms_rows"]),
        node("Unsqueeze", ["nms_rows", "nms_first"], [DETECTIONS]),
    ]
