"""Count: what a torch module computes for one input, operation by operation, on shapes alone.

The same count serves a published network, whose time is known, and a block of ours, whose time is wanted. What
runtimes fold into the operation before it (batch normalization, ReLU, views) counts as nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

Operation = Literal["dense", "pointwise", "depthwise", "grouped", "linear", "matmul", "pool", "elementwise", "curve"]

# Folded, or no more than another look at the same numbers.
_FREE = frozenset(
    "_native_batch_norm_legit_no_training _reshape_alias _unsafe_view alias arange as_strided chunk clamp"
    " clamp_min cudnn_batch_norm detach dropout empty expand full hardtanh lift_fresh native_batch_norm"
    " native_dropout ones permute relu relu6 select slice split split_with_sizes squeeze t transpose"
    " unbind unsqueeze view zeros".split()
)
# Activations with an exponential or a division in them, and what normalizes over a map.
_CURVES = frozenset(
    "elu erf exp gelu hardsigmoid hardswish mish native_group_norm native_layer_norm rms_norm sigmoid silu _softmax"
    " softplus tanh".split()
)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One operation on one image.

    Args:
        operation: its kind; ``dense``, ``pointwise``, ``depthwise`` and ``grouped`` are convolutions, ``matmul``
            multiplies two maps, ``curve`` is a costly activation or a normalization that nothing folds.
        macs: multiply-accumulates.
        reads: elements of the maps that it reads.
        writes: elements of the map that it writes.
        weights: parameters.
        c_in: channels that one output element looks at.
        c_out: channels that it writes.
        pixels: positions of the map that it writes.
        kernel: side of the kernel, in pixels.
    """

    operation: Operation
    macs: int
    reads: int
    writes: int
    weights: int = 0
    c_in: int = 0
    c_out: int = 0
    pixels: int = 0
    kernel: int = 0


def count_layers(module: nn.Module, inputs_chw: Sequence[tuple[int, ...]]) -> tuple[Layer, ...]:
    """The operations of ``module`` in eval mode, in order.

    Args:
        module: on the meta device, so that neither memory nor time is taken; put into eval mode.
        inputs_chw: the shape of each tensor that it takes, without the batch.

    Raises:
        Whatever the module raises where it looks at values, which the meta device does not have.
    """
    counter = _Counter()
    with counter, torch.no_grad():
        module.eval()(*(torch.empty((1, *shape), device="meta") for shape in inputs_chw))
    return tuple(counter.layers)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's class is not typed
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.layers: list[Layer] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        layer = _layer(func.overloadpacket.__name__, args, out)
        if layer is not None:
            self.layers.append(layer)
        return out


def _layer(name: str, args: Any, out: Any) -> Layer | None:
    name = name.removesuffix("_")
    written = out[0] if isinstance(out, (tuple, list)) and out else out
    if name in _FREE or not isinstance(written, Tensor) or written.ndim < 2:
        return None
    tensors = [one for one in _flat(args) if isinstance(one, Tensor)]
    if name == "convolution":
        return _convolution(args, written)
    if name in ("mm", "addmm", "bmm", "baddbmm"):
        left, right = tensors[-2:]
        rows, inner, columns = math.prod(left.shape[:-1]), left.shape[-1], right.shape[-1]
        fixed = name in ("mm", "addmm")
        return Layer(
            operation="linear" if fixed else "matmul",
            macs=rows * inner * columns,
            reads=left.numel() + (0 if fixed else right.numel()),
            writes=written.numel(),
            weights=right.numel() if fixed else 0,
            c_in=inner,
            c_out=columns,
            pixels=rows,
            kernel=1,
        )
    reads = sum(one.numel() for one in tensors)
    if "scaled_dot_product" in name:
        query, key = tensors[:2]
        macs = 2 * query.numel() * key.shape[-2]
        return Layer(operation="matmul", macs=macs, reads=reads, writes=written.numel(), kernel=1)
    if "pool" in name or name == "mean":
        return Layer(operation="pool", macs=0, reads=reads, writes=written.numel())
    operation: Operation = "curve" if name in _CURVES else "elementwise"
    return Layer(operation=operation, macs=0, reads=reads, writes=written.numel())


def _convolution(args: Any, written: Tensor) -> Layer:
    read, weight, groups = args[0], args[1], args[8]
    c_out, inner, *sides = weight.shape
    operation: Operation = "pointwise" if math.prod(sides) == 1 else "dense"
    if groups > 1:
        operation = "depthwise" if inner == 1 else "grouped"
    pixels = math.prod(written.shape[2:])
    return Layer(
        operation=operation,
        macs=written.numel() * inner * math.prod(sides),
        reads=read.numel(),
        writes=written.numel(),
        weights=weight.numel(),
        c_in=inner,
        c_out=c_out,
        pixels=pixels,
        kernel=max(sides),
    )


def _flat(args: Any) -> list[Any]:
    return [one for arg in args for one in (_flat(arg) if isinstance(arg, (tuple, list)) else (arg,))]
