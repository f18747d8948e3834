"""Peak memory of an ONNX file's maps, by the rule of ``memory``."""

from __future__ import annotations

import math

import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from hardware_profiles.memory import Step, peak_elements

_IN_PLACE = {"Add", "Clip", "Dropout", "Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mul", "Relu", "Sigmoid", "Sub"}
_VIEWS = {"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"}


def peak_activation_bytes(model: bytes) -> int:
    """Peak of an ONNX model in fp32 whose shapes are all fixed, weights not counted.

    Raises:
        ValueError: a shape is not fixed, or cannot be inferred.
    """
    graph = onnx.shape_inference.infer_shapes(_folded(onnx.load_from_string(model))).graph
    constant = {initializer.name for initializer in graph.initializer}
    values = {value.name: value for value in (*graph.input, *graph.value_info, *graph.output)}
    seen: dict[str, str] = {}  # a view -> the map it looks at
    steps = []
    for node in graph.node:
        reads = tuple(seen.get(name, name) for name in node.input if name and name not in constant)
        if not reads:  # made of constants, which are not counted
            constant.update(node.output)
        elif node.op_type in _VIEWS:
            seen[node.output[0]] = reads[0]
        else:
            if node.output[0] not in values:
                raise ValueError(f"the shape of {node.output[0]!r} is not known; export with fixed shapes")
            in_place = node.op_type in _IN_PLACE
            elements = _elements(values[node.output[0]])
            steps.append(Step(reads=reads, writes=node.output[0], elements=elements, in_place=in_place))
    inputs = {value.name: _elements(value) for value in graph.input if value.name not in constant}
    return 4 * peak_elements(inputs, steps, [seen.get(value.name, value.name) for value in graph.output])


def _folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """With what is made of constants as constants, so that the shape of a padding is known."""
    values = {initializer.name: numpy_helper.to_array(initializer) for initializer in model.graph.initializer}
    left = []
    for node in model.graph.node:
        if not all(name in values for name in node.input if name):
            left.append(node)
            continue
        made = ReferenceEvaluator(node, opsets={"": model.opset_import[0].version}).run(
            None, {name: values[name] for name in node.input if name}
        )
        values |= dict(zip(node.output, made, strict=True))
        new = (numpy_helper.from_array(value, name) for name, value in zip(node.output, made, strict=True))
        model.graph.initializer.extend(new)
    del model.graph.node[:]
    model.graph.node.extend(left)
    return model


def _elements(value: onnx.ValueInfoProto) -> int:
    sides = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    if not all(side > 0 for side in sides):
        raise ValueError(f"the shape of {value.name!r} is {sides}; export with fixed shapes")
    return math.prod(sides)
