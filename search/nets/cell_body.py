"""Cell body: a stem and a stack of cells, whatever their edges are; shared by the search and by final networks.

Reduction cells stand after a third and after two thirds of the stack; each halves the map and doubles the channels
(Liu et al., DARTS, ICLR 2019, section 3.1). The stem's stride follows the input size: at stride 1 and 2 one 3x3
convolution to three times the channels, at 4 and 8 the paper's stem for ImageNet (appendix A.2.3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search.nets.genotype import NODES
from search.nets.layers import Backbone, Conv2d, dilated_conv2d

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.


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
        if not self.training and not torch.is_autocast_enabled("cpu"):  # as ``search.nets.layers.Conv2d``
            return super().forward(x_BCHW)
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


# ruff: noqa: N803, N806 - a tensor's name ends in its shape.


STEM_STRIDES = (1, 2, 4, 8)  # a cell sees 16 to 64 px then, as in the papers
_WIDEST_PX = 40  # side of the first cell's map, where the strides allow
_WIDE_STEM = 3  # DARTS's stem is three times as wide as its cells


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a cell stands.

    Args:
        role: ``normal`` or ``reduce``.
        c_before_last: channels of the output of the cell before the last one.
        c_last: channels of the last cell's output.
        channels: of each of its own nodes; its output has ``NODES`` times as many.
        after_reduction: whether its first input is twice as large as its second.
        halvings: how often the map was halved between the input image and this cell's second input.
    """

    role: str
    c_before_last: int
    c_last: int
    channels: int
    after_reduction: bool
    halvings: int

    @property
    def stride(self) -> int:
        """Of operations on the cell's inputs."""
        return 2 if self.role == "reduce" else 1


def stem_stride(resolution_px: int) -> int:
    """1 for 32 px, 2 for 64 px, 4 for 96 px, 8 for 224 px: the first map has at most 40 px where 8 is enough for it."""
    fitting = (stride for stride in STEM_STRIDES if -(-resolution_px // stride) <= _WIDEST_PX)
    return next(fitting, STEM_STRIDES[-1])


def places(cells: int, channels: int, stride: int) -> tuple[Place, ...]:
    """The cells of a network whose first cell has ``channels``, behind a stem of ``stride``."""
    c_before_last = c_last = stem_channels(channels, stride)
    after_reduction, halvings = stride == STEM_STRIDES[-1], stride.bit_length() - 1
    made = []
    for i in range(cells):
        role = "reduce" if i in (cells // 3, 2 * cells // 3) else "normal"
        channels *= 2 if role == "reduce" else 1
        made.append(
            Place(
                role=role,
                c_before_last=c_before_last,
                c_last=c_last,
                channels=channels,
                after_reduction=after_reduction,
                halvings=halvings,
            )
        )
        c_before_last, c_last = c_last, NODES * channels
        after_reduction, halvings = role == "reduce", halvings + (role == "reduce")
    return tuple(made)


def stem_channels(channels: int, stride: int) -> int:
    """Channels of the stem's output."""
    return _WIDE_STEM * channels if stride <= 2 else channels


class Stem(nn.Module):
    """[B, 3, H, W] -> the first cell's two inputs: the same map twice, or, at stride 8, maps of stride 4 and 8."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.last: nn.Module = nn.Identity()
        if stride <= 2:
            self.first = nn.Sequential(*_conv_norm(3, stem_channels(channels, stride), stride))
            return
        half = channels // 2
        self.first = nn.Sequential(*_conv_norm(3, half, 2), nn.ReLU(), *_conv_norm(half, channels, 2))
        if stride == STEM_STRIDES[-1]:
            self.last = nn.Sequential(nn.ReLU(), *_conv_norm(channels, channels, 2))

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        first_BCHW = self.first(x_BCHW)
        return first_BCHW, self.last(first_BCHW)


class Cell(nn.Module):
    """Prepares its two inputs, adds up the edges into each node, concatenates the nodes.

    Args:
        place: where it stands.
        nodes: per intermediate node, the (earlier node, module) of its edges.
        affine: whether the normalizations that prepare the inputs have scale and shift.
    """

    def __init__(self, place: Place, nodes: Sequence[Sequence[tuple[int, nn.Module]]], *, affine: bool) -> None:
        super().__init__()
        prepare = FactorizedReduce if place.after_reduction else relu_conv_norm
        self.before_last: nn.Module = prepare(place.c_before_last, place.channels, affine=affine)
        self.last: nn.Module = relu_conv_norm(place.c_last, place.channels, affine=affine)
        self.nodes = nn.ModuleList(nn.ModuleList(module for _, module in edges) for edges in nodes)
        self.sources = [[source for source, _ in edges] for edges in nodes]

    def forward(self, before_last_BCHW: Tensor, last_BCHW: Tensor) -> Tensor:
        """The outputs of the two cells before -> [B, NODES * channels, H', W']."""
        states = [self.before_last(before_last_BCHW), self.last(last_BCHW)]
        for sources, edges in zip(self.sources, self.nodes, strict=True):
            assert isinstance(edges, nn.ModuleList)
            terms = [edge(states[source]) for source, edge in zip(sources, edges, strict=True)]
            states.append(sum(terms[1:], terms[0]))
        return torch.cat(states[-NODES:], dim=1)


class CellBackbone(Backbone):
    """Stem and cells; three maps, the strides doubling from the stem's on."""

    def __init__(self, cells: int, channels: int, stride: int, make_cell: Callable[[Place], Cell]) -> None:
        super().__init__()
        self._places = places(cells, channels, stride)
        self.stem = Stem(channels, stride)
        self.cells = nn.ModuleList(make_cell(place) for place in self._places)
        self.embedding_dim = NODES * self._places[-1].channels

    def features(self, x_BCHW: Tensor) -> dict[str, Tensor]:
        """[B, 3, H, W] -> the last map of each size, by log2 of its stride: p0, p1, p2 behind a stem of stride 1."""
        maps = {}
        before_last, last = self.stem(x_BCHW)
        for place, cell in zip(self._places, self.cells, strict=True):
            before_last, last = last, cell(before_last, last)
            maps[f"p{place.halvings + (place.role == 'reduce')}"] = last
        return maps

    def embed(self, map_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C]: the mean over positions."""
        return map_BCHW.mean((2, 3))


def _conv_norm(c_in: int, c_out: int, stride: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out)
