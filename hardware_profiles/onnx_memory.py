"""Peak memory of an ONNX file's maps, by the rule of ``memory``."""

from __future__ import annotations

import math

import onnx

from hardware_profiles.memory import Step, peak_elements

_IN_PLACE = {"Add", "Clip", "Dropout", "Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mul", "Relu", "Sigmoid", "Sub"}
_VIEWS = {"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"}


def peak_activation_bytes(model: bytes) -> int:
    """Peak of an ONNX model in fp32 whose shapes are all fixed, weights not counted.

    Raises:
        ValueError: a shape is not fixed, or cannot be inferred.
    """
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(model)).graph
    constant = {initializer.name for initializer in graph.initializer}
    constant |= {name for node in graph.node if node.op_type == "Constant" for name in node.output}
    elements = {
        value.name: _elements(value)
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.name not in constant
    }
    seen: dict[str, str] = {}  # a view -> the map it looks at
    steps = []
    for node in graph.node:
        reads = tuple(seen.get(name, name) for name in node.input if name and name not in constant)
        if not reads:  # made of constants, which are not counted
            constant.update(node.output)
        elif node.op_type in _VIEWS:
            seen[node.output[0]] = reads[0]
        else:
            if node.output[0] not in elements:
                raise ValueError(f"the shape of {node.output[0]!r} is not known; export with fixed shapes")
            in_place = node.op_type in _IN_PLACE
            steps.append(Step(reads=reads, writes=node.output[0], elements=elements[node.output[0]], in_place=in_place))
    inputs = {value.name: elements[value.name] for value in graph.input if value.name not in constant}
    return 4 * peak_elements(inputs, steps, [seen.get(value.name, value.name) for value in graph.output])


def _elements(value: onnx.ValueInfoProto) -> int:
    sides = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    if not all(side > 0 for side in sides):
        raise ValueError(f"the shape of {value.name!r} is {sides}; export with fixed shapes")
    return math.prod(sides)
