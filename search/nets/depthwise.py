"""Depthwise: the convolution of each channel by itself, with a gradient of its weights that a CPU computes fast.

oneDNN has a fast kernel for that gradient up to three columns (``jit_dw``); five take it 5 to 15 times as long, and so
do maps lower than the kernel. But in a map whose neighboring columns are seen as channels of one column, three columns
reach as far as five: two fast calls give what one slow one does, from the same memory.

Symbols: B images, C channels, H and W rows and columns of x, k of the kernel.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

_LAST = torch.channels_last


def depthwise_conv2d(x_BCHW: Tensor, weight_C1kk: Tensor, stride: int, padding: int) -> Tensor:
    """``F.conv2d`` of each channel by itself; ``padding`` is half the kernel, whose sides are odd."""
    own = x_BCHW.device.type == "cpu" and torch.is_grad_enabled() and weight_C1kk.requires_grad
    if own and padding == weight_C1kk.shape[-1] // 2 and _is_slow(x_BCHW, weight_C1kk.shape[-1], stride):
        return _Depthwise.apply(x_BCHW, weight_C1kk, stride)  # type: ignore[no-any-return]
    return F.conv2d(x_BCHW, weight_C1kk, None, stride, padding, 1, len(weight_C1kk))


def _is_slow(x_BCHW: Tensor, k: int, stride: int) -> bool:
    """Where the library was measured to be slower than ours."""
    height, width = x_BCHW.shape[2:]
    if stride == 2:
        return k == 5 and height >= 5 and width >= 4
    return stride == 1 and (k == 5 or (k == 3 and height * width <= 4))


class _Depthwise(torch.autograd.Function):
    """The output and the gradient of x are the library's."""

    @staticmethod
    def forward(ctx: Any, x_BCHW: Tensor, weight_C1kk: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x_BCHW, weight_C1kk)
        ctx.stride = stride
        return F.conv2d(x_BCHW, weight_C1kk, None, stride, weight_C1kk.shape[-1] // 2, 1, len(weight_C1kk))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor, None]:
        (g_BCHW,) = grads
        x_BCHW, weight_C1kk = ctx.saved_tensors
        grad_x = None
        if ctx.needs_input_grad[0]:
            p, s = weight_C1kk.shape[-1] // 2, ctx.stride
            args = (None, [s, s], [p, p], [1, 1], False, [0, 0], len(weight_C1kk), [True, False, False])
            grad_x = torch.ops.aten.convolution_backward(g_BCHW, x_BCHW, weight_C1kk, *args)[0]
        return grad_x, _weight_gradient(g_BCHW, x_BCHW, weight_C1kk.shape[-1], ctx.stride), None


def _weight_gradient(g_BCHW: Tensor, x_BCHW: Tensor, k: int, stride: int) -> Tensor:
    """[C, 1, k, k]."""
    height, width = x_BCHW.shape[2:]
    if stride == 2:
        return _every_other(g_BCHW, x_BCHW)
    if k == 3 or height < 3 or width < 4:
        return _shifted(g_BCHW, x_BCHW, k)
    if height >= 5:
        return _five_columns(g_BCHW, x_BCHW, rows=5)
    # Lower than the kernel: its outer rows see two rows of the map less, and are kernels of one row there.
    above, below = x_BCHW[:, :, :-2], x_BCHW[:, :, 2:]
    first = _five_columns(_dense(g_BCHW[:, :, 2:]), _dense(above), rows=1)
    last = _five_columns(_dense(g_BCHW[:, :, :-2]), _dense(below), rows=1)
    return torch.cat([first, _five_columns(g_BCHW, x_BCHW, rows=3), last], dim=2)


def _five_columns(g_BCHW: Tensor, x_BCHW: Tensor, *, rows: int) -> Tensor:
    """Of a kernel of ``rows`` x 5 and stride 1: the inner columns, then the outer ones by pairs."""
    inner = _library(g_BCHW, x_BCHW, rows, stride=1)
    left, right = _library(_pairs(g_BCHW), _pairs(x_BCHW), rows, stride=1).chunk(2)
    outer = left + right
    return torch.cat([outer[..., :1], inner, outer[..., 2:]], dim=3)


def _every_other(g_BCHW: Tensor, x_BCHW: Tensor) -> Tensor:
    """Of a kernel of 5 x 5 and stride 2: the left columns of the pairs meet columns 0, 2, 4, the right ones 1 and 3."""
    left, right = _library(torch.cat([g_BCHW, g_BCHW], dim=1), _pairs(x_BCHW), 5, stride=2).chunk(2)
    return torch.stack([left[..., 0], right[..., 0], left[..., 1], right[..., 1], left[..., 2]], dim=3)


def _shifted(g_BCHW: Tensor, x_BCHW: Tensor, k: int) -> Tensor:
    """Of any kernel and stride 1, a product of maps for each of its places that meets the map."""
    p, (height, width) = k // 2, g_BCHW.shape[2:]
    padded = F.pad(x_BCHW, (p, p, p, p))
    gradient = x_BCHW.new_zeros(x_BCHW.shape[1], 1, k, k)
    for i in range(max(0, p - height + 1), min(k, p + height)):
        for j in range(max(0, p - width + 1), min(k, p + width)):
            gradient[:, 0, i, j] = (padded[:, :, i : i + height, j : j + width] * g_BCHW).sum((0, 2, 3))
    return gradient


def _library(g_BCHW: Tensor, x_BCHW: Tensor, rows: int, *, stride: int) -> Tensor:
    """Of a kernel of ``rows`` x 3; ``stride`` is that of the rows."""
    channels = x_BCHW.shape[1]
    weight = x_BCHW.new_empty(channels, 1, rows, 3)  # of which only the shape is read
    args = (None, [stride, 1], [rows // 2, 1], [1, 1], False, [0, 0], channels, [False, True, False])
    gradient: Tensor = torch.ops.aten.convolution_backward(g_BCHW, x_BCHW, weight, *args)[1]
    return gradient


def _pairs(x_BCHW: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, 2C, H, W/2]: a view where the channels lie innermost and W is even."""
    if x_BCHW.shape[3] % 2:
        x_BCHW = F.pad(x_BCHW, (0, 1))
    b, c, height, width = x_BCHW.shape
    return x_BCHW.permute(0, 2, 3, 1).reshape(b, height, width // 2, 2 * c).permute(0, 3, 1, 2)


def _dense(x_BCHW: Tensor) -> Tensor:
    return x_BCHW.contiguous(memory_format=_LAST)
