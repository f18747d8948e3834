"""Depthwise convolution with a fast weight gradient on small maps.

On a CPU the library's weight gradient of a depthwise convolution costs up to 100 times its forward pass once the map is
4x4 or smaller (measured: 105 ms against 1 ms for 1104 channels at 2x2, batch 128); summing the k*k shifted products
costs a tenth of that. Dilation makes it slow, too, and is taken apart. Everything else, and every other shape, is
``torch.nn.functional.conv2d``.

Where a CPU computes the rest of a network in bf16, these stay in fp32: their gradient has no fast path in bf16.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def conv2d(x: Tensor, weight: Tensor, stride: int, padding: int, groups: int) -> Tensor:
    """``F.conv2d`` without bias; [B,c_in,H,W] with [c_out,c_in/groups,k,k] -> [B,c_out,H',W']."""
    if groups > 1 and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            return conv2d(x.float(), weight, stride, padding, groups)
    depthwise = groups > 1 and groups == x.shape[1] == weight.shape[0]
    if depthwise and stride == 1 and _is_small(x, weight) and torch.is_grad_enabled() and weight.requires_grad:
        return _SmallMapDepthwise.apply(x, weight, padding)  # type: ignore[no-any-return]
    return F.conv2d(x, weight, None, stride, padding, 1, groups)


def dilated_conv2d(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """A depthwise convolution of dilation 2 that keeps the map's size divided by ``stride``, 1 or 2.

    Dilation 2 never mixes even and odd positions, so it is an undilated convolution of each kind by itself. On a CPU
    the library takes 3 to 50 times as long for the gradient of the former (64 images, 8 to 64 channels, 4 to 32 px).

    Args:
        x: [B, C, H, W].
        weight: [C, 1, k, k], k odd.
        stride: of the convolution.
    """
    if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            return dilated_conv2d(x.float(), weight, stride)
    k, (b, c, h, w) = weight.shape[-1], x.shape
    training = torch.is_grad_enabled() and x.device.type == "cpu"
    if training and stride == 2:
        return conv2d(x[:, :, ::2, ::2], weight, 1, k // 2, c)
    if training and h % 2 == 0 and w % 2 == 0:
        phases = x.permute(0, 2, 3, 1).reshape(b, h // 2, 2, w // 2, 2, c).permute(0, 2, 4, 1, 3, 5)
        maps = phases.reshape(4 * b, h // 2, w // 2, c).permute(0, 3, 1, 2)
        y = conv2d(maps, weight, 1, k // 2, c).permute(0, 2, 3, 1).reshape(b, 2, 2, h // 2, w // 2, c)
        return y.permute(0, 3, 1, 4, 2, 5).reshape(b, h, w, c).permute(0, 3, 1, 2)
    return F.conv2d(x, weight, None, stride, 2 * (k // 2), 2, c)


def _is_small(x: Tensor, weight: Tensor) -> bool:
    """Where the sum of shifted products was measured to be the faster one."""
    pixels = x.shape[2] * x.shape[3]
    return x.device.type == "cpu" and (pixels <= 4 or (pixels <= 16 and weight.shape[-1] > 3))


class _SmallMapDepthwise(torch.autograd.Function):
    """Stride 1; the gradient of x is the library's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        return F.conv2d(x, weight, None, 1, padding, 1, weight.shape[0])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor, None]:
        (g,) = grads
        x, weight = ctx.saved_tensors
        p, k = ctx.padding, weight.shape[-1]
        grad_x = None
        if ctx.needs_input_grad[0]:
            args = (None, [1, 1], [p, p], [1, 1], False, [0, 0], weight.shape[0], [True, False, False])
            grad_x = torch.ops.aten.convolution_backward(g, x, weight, *args)[0]
        h, w = g.shape[2:]
        padded = F.pad(x, (p, p, p, p))
        grad_w = weight.new_zeros(weight.shape)
        for i in range(max(0, p - h + 1), min(k, p + h)):  # beyond these the shifted map holds padding only
            for j in range(max(0, p - w + 1), min(k, p + w)):
                grad_w[:, 0, i, j] = (padded[:, :, i : i + h, j : j + w] * g).sum((0, 2, 3))
        return grad_x, grad_w, None
