"""Small exported graphs, made once for the whole run."""

from __future__ import annotations

import functools

from onnx import TensorProto, helper
from small_nets import ConvNet, PyramidNet, seeded

from export import Preprocess, make_onnx, target_at
from export.formats.onnx_file import metadata_props

_NETS = {"embedding": ConvNet, "maps": PyramidNet}


@functools.cache
def onnx_bytes(target: str, outputs: str = "embedding") -> bytes:
    """``edge`` (a fixed batch of 1) or ``cloud`` (dynamic), with one ``embedding`` or with ``maps``."""
    preprocess = Preprocess(size_px=(32, 32), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    metadata = metadata_props(preprocess, name="small", net="small", architecture="{}")
    return make_onnx(seeded(_NETS[outputs]()), target_at(target, 32), metadata).SerializeToString()


def unknown_operator() -> bytes:
    """A graph with an operator that nobody has."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 4, 4]) for name in ("input", "output")]
    graph = helper.make_graph([helper.make_node("Nonsense", ["input"], ["output"], "odd")], "g", value[:1], value[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
