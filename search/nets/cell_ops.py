"""Cell operations: what an edge of a DARTS cell may be, and what prepares a cell's inputs.

Liu et al., DARTS, ICLR 2019, section 3.1: ReLU, convolution, normalization, in this order; separable convolutions are
applied twice. While cells are searched their normalizations have no scale and shift, and poolings are normalized, too,
so that the outputs of an edge's candidates are comparable; in final networks normalizations have both, poolings none.

Every operation maps [B, c, H, W] to [B, c, ceil(H / stride), ceil(W / stride)].
"""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search.nets.layers import Conv2d, dilated_conv2d


def make_op(op: str, channels: int, stride: int, *, searching: bool = False) -> nn.Module:
    """One candidate of an edge.

    Args:
        op: a name of ``search.nets.genotype.PRIMITIVES``.
        channels: c.
        stride: 1 or 2.
        searching: normalize without scale and shift, poolings included.

    Raises:
        ValueError: no operation has that name.
    """
    affine = not searching
    match op:
        case "none":
            return Zero(stride)
        case "skip_connect":
            return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, affine=affine)
        case "max_pool_3x3":
            return _normed(nn.MaxPool2d(3, stride, 1), channels, searching)
        case "avg_pool_3x3":
            return _normed(nn.AvgPool2d(3, stride, 1, count_include_pad=False), channels, searching)
        case "sep_conv_3x3" | "sep_conv_5x5":
            kernel = int(op[-1])
            first = separable(channels, kernel, stride, affine=affine)
            return nn.Sequential(*first, *separable(channels, kernel, 1, affine=affine))
        case "dil_conv_3x3" | "dil_conv_5x5":
            return separable(channels, int(op[-1]), stride, dilated=True, affine=affine)
    raise ValueError(f"no operation is called {op!r}")


class Zero(nn.Module):
    """The operation ``none``: a map of zeros, through which no gradient flows."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """See the module."""
        return torch.zeros_like(x_BCHW[:, :, :: self.stride, :: self.stride])


def separable(channels: int, kernel: int, stride: int, *, dilated: bool = False, affine: bool = True) -> nn.Sequential:
    """ReLU, depthwise and pointwise convolution, normalization; ``dilated`` leaves every other pixel out."""
    depthwise: nn.Module
    if not dilated:
        depthwise = Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
    else:
        depthwise = DilatedDepthwise(
            channels, channels, kernel, stride, 2 * (kernel // 2), dilation=2, groups=channels, bias=False
        )
    return nn.Sequential(
        nn.ReLU(), depthwise, nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels, affine=affine)
    )


class DilatedDepthwise(nn.Conv2d):
    """``nn.Conv2d``, depthwise and of dilation 2, that trains fast on a CPU."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H/stride, W/stride]."""
        return dilated_conv2d(x_BCHW, self.weight, self.stride[0])


def relu_conv_norm(c_in: int, c_out: int, *, affine: bool = True) -> nn.Sequential:
    """What prepares a cell's input of its own size: ReLU, pointwise convolution, normalization."""
    return nn.Sequential(nn.ReLU(), nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out, affine=affine))


class FactorizedReduce(nn.Module):
    """Halves a map: ReLU, a pointwise convolution of its even and one of its odd positions, and normalization.

    [B, c_in, H, W] -> [B, c_out, ceil(H / 2), ceil(W / 2)]; beyond an odd side there are zeros. The positions are taken
    before they are convolved: on a CPU torch 2.15 corrupts memory in the weight gradient of a strided pointwise
    convolution of fewer than 8 channels in channels_last.
    """

    def __init__(self, c_in: int, c_out: int, *, affine: bool = True) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.even = nn.Conv2d(c_in, c_out // 2, 1, bias=False)
        self.odd = nn.Conv2d(c_in, c_out - c_out // 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(c_out, affine=affine)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """See the class."""
        x_BCHW = self.relu(x_BCHW)
        shifted_BCHW = F.pad(x_BCHW, (-1, 1, -1, 1))
        # A pooling of one pixel takes every other one, and its graph is the same for even and odd sides.
        halves = [self.even(F.max_pool2d(x_BCHW, 1, 2)), self.odd(F.max_pool2d(shifted_BCHW, 1, 2))]
        return self.norm(torch.cat(halves, dim=1))  # type: ignore[no-any-return]


def _normed(pool: nn.Module, channels: int, searching: bool) -> nn.Module:
    return nn.Sequential(pool, nn.BatchNorm2d(channels, affine=False)) if searching else pool
