"""Handcrafted: ResNets and MobileNetV2s of 94 and 42 shapes, to ask which shape suits self-supervised learning.

The shapes are those of Girish et al., arXiv:2203.08130 ("One Network Doesn't Rule Them All"); of its list, the order of
v12 to v91 and the depths of v6 to v11 are ours. Up to 64 px the stem has stride 1 and no max-pool, as in SimCLR
(arXiv:2002.05709, appendix B.9), and a MobileNetV2 shrinks its maps two stages later, so that a network of S px has the
maps of its larger form at 4 * S px. Widths may be a share of the published ones. ReLU stands for MobileNetV2's ReLU6.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from hardware_profiles import OpKey
from search.errors import BadArchitecture
from search.nets.layers import Backbone, ConvNorm, Layers
from search.nets.mobile import Head, InvertedResidual
from search.nets.net import Choice, Net, Part
from search.nets.resnet import Stem
from search.types import Architecture

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

SMALL_PX = 64  # the largest input of the small form
DIVISORS = (8, 4, 2, 1)  # of the published widths, the smallest networks first
_PLANES = (64, 128, 256, 512)  # He et al., CVPR 2016, table 1
_BOTTLENECK = 4  # times as many channels leave it
# Expansion, channels and stride of each group of layers (Sandler et al., CVPR 2018, table 2), by the stage of its map.
_INVERTED = (
    ((1, 16, 1), (6, 24, 2)),
    ((6, 32, 2),),
    ((6, 64, 2), (6, 96, 1)),
    ((6, 160, 2), (6, 320, 1)),
)


@dataclass(frozen=True, kw_only=True)
class ResNetShape:
    """Blocks per stage, their kind, and the groups and width of their 3x3 convolutions, as torchvision has them."""

    depths: tuple[int, int, int, int]
    block: Literal["basic", "bottleneck"] = "bottleneck"
    groups: int = 1
    width_per_group: int = 64


@dataclass(frozen=True, kw_only=True)
class MobileShape:
    """Times the usual channels, and the layers of each of the seven groups."""

    width: float = 1.0
    repeats: tuple[int, ...] = (1, 2, 3, 4, 3, 3, 1)


Shape = ResNetShape | MobileShape


def _resnets() -> dict[str, Shape]:
    plain: tuple[int, int, int, int] = (2, 2, 2, 2)
    shapes: list[ResNetShape] = [ResNetShape(depths=plain, width_per_group=width) for width in (64, 128, 256)]
    shapes += [ResNetShape(depths=depths, block="basic") for depths in ((2, 3, 4, 5), (3, 3, 3, 3))]
    grid = itertools.product((2, 4, 8), (32, 64))
    shapes += [ResNetShape(depths=plain, groups=groups, width_per_group=width) for groups, width in grid]
    depths = itertools.product((2, 3, 4), repeat=4)
    shapes += [ResNetShape(depths=(a, b, c, d)) for a, b, c, d in depths if (a, b, c, d) != plain]
    return {
        "resnet18": ResNetShape(depths=plain, block="basic"),
        "resnet34": ResNetShape(depths=(3, 4, 6, 3), block="basic"),
        "resnet50": ResNetShape(depths=(3, 4, 6, 3)),
        **{f"v{i}": shape for i, shape in enumerate(shapes, start=1)},
    }


def _mobiles() -> dict[str, Shape]:
    widths = {f"mobilenetv2-{1 + i / 5:.1f}x": MobileShape(width=1 + i / 5) for i in range(1, 11)}
    grid = itertools.product((2, 3), (3, 4), (4, 5), (3, 4), (3, 4))
    depths = {f"mobilenetv2-n{''.join(map(str, n))}": MobileShape(repeats=(1, *n, 1)) for n in grid}
    del depths["mobilenetv2-n23433"]
    return {"mobilenetv2": MobileShape(), **widths, **depths}


class Residual(nn.Module):
    """Convolutions, and a shortcut where shapes differ: [B, c_in, H, W] -> [B, c_out, H/stride, W/stride]."""

    def __init__(self, convs: Sequence[ConvNorm], shortcut: nn.Module) -> None:
        super().__init__()
        self.convs, self.shortcut = nn.Sequential(*convs), shortcut
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """See the class."""
        return self.relu(self.convs(x_BCHW) + self.shortcut(x_BCHW))  # type: ignore[no-any-return]


class HandcraftedBackbone(Backbone):
    """A stem, four stages of maps half as large each, and what comes before the mean over positions, if anything."""

    def __init__(self, stem: nn.Module, stages: Sequence[nn.Module], head: nn.Module, dim: int, *, level: int) -> None:
        super().__init__()
        self.stem, self.stages, self.head = stem, nn.ModuleList(stages), head
        self.embedding_dim, self._level = dim, level

    def features(self, x_BCHW: Tensor) -> dict[str, Tensor]:
        """[B,3,H,W] -> p0..p3 of the small form, p2..p5 of the large one, named by log2 of the stride."""
        maps, x_BCHW = {}, self.stem(x_BCHW)
        for level, stage in enumerate(self.stages, start=self._level):
            x_BCHW = maps[f"p{level}"] = stage(x_BCHW)
        return maps

    def embed(self, map_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, embedding_dim]."""
        y_BCHW: Tensor = self.head(map_BCHW)
        return y_BCHW if y_BCHW.ndim == 2 else y_BCHW.mean((2, 3))


class Handcrafted(Net):
    """The shapes of one kind, each at some shares of its width; no two share weights.

    Args:
        name: of the net.
        shapes: by name.
    """

    shares_weights = False

    def __init__(self, name: str, shapes: Mapping[str, Shape]) -> None:
        self.name, self.shapes = name, shapes
        self.space = (
            Choice(name="shape", options=tuple(shapes)),
            Choice(name="width_divisor", options=DIVISORS),
        )

    def architecture(self, shape: str, *, width_divisor: int, resolution_px: int) -> Architecture:
        """A network of this net by the name of its shape."""
        return Architecture(net=self.name, choices=(shape, width_divisor), resolution_px=resolution_px)

    def values(self, architecture: Architecture) -> dict[str, int]:
        """Which shape, how wide, and whether in the small form."""
        self.check(architecture)
        shape, divisor = architecture.choices
        small = architecture.resolution_px <= SMALL_PX
        return {"shape": list(self.shapes).index(str(shape)), "width_divisor": int(divisor), "small": int(small)}

    def labels(self) -> dict[str, tuple[int, ...]]:
        """See ``Net``."""
        return {"shape": tuple(range(len(self.shapes))), "width_divisor": DIVISORS, "small": (0, 1)}

    def make(self, layers: Layers) -> HandcraftedBackbone:
        """See ``Net``."""
        shape = list(self.shapes.values())[layers.value("shape")]
        share, small = 1 / layers.value("width_divisor"), bool(layers.value("small"))
        make = _make_resnet if isinstance(shape, ResNetShape) else _make_mobile
        return make(layers, shape, share, small)

    def initialize(self, module: nn.Module) -> None:
        """Kaiming, and a zero scale on the last normalization of each residual block, so that it starts as nothing."""
        super().initialize(module)
        for part in module.modules():
            last = part.convs[-1] if isinstance(part, Residual) else None
            if isinstance(part, InvertedResidual) and part.residual:
                last = part.project
            if isinstance(last, ConvNorm):
                norm = last[1]
                assert isinstance(norm, nn.BatchNorm2d)
                nn.init.zeros_(norm.weight)

    def parts(self, resolution_px: int) -> tuple[Part, ...]:
        """None: the networks share no blocks that a table could hold; a cost model prices each as a whole."""
        raise BadArchitecture(f"{self.name} has no table of blocks; a cost model prices its networks whole")

    def build_op(self, key: OpKey) -> nn.Module:
        """See ``parts``."""
        raise ValueError(f"{self.name} has no blocks of its own, so none of kind {key.kind!r}")


RESNETS = Handcrafted("resnet-variants", _resnets())
MOBILES = Handcrafted("mobilenet-variants", _mobiles())


def _make_resnet(layers: Layers, shape: ResNetShape, share: float, small: bool) -> HandcraftedBackbone:
    c_in = round(share * _PLANES[0])
    stem = Stem(layers, c_in, 3 if small else 7)
    stages: list[nn.Module] = []
    for s, (planes, depth) in enumerate(zip(_PLANES, shape.depths, strict=True)):
        blocks = []
        for i in range(depth):
            stride = 2 if s and not i else 1
            blocks.append(_residual(layers, shape, c_in, round(share * planes), stride))
            c_in = round(share * planes) * (_BOTTLENECK if shape.block == "bottleneck" else 1)
        stages.append(nn.Sequential(*blocks))
    return HandcraftedBackbone(stem, stages, nn.Identity(), c_in, level=0 if small else 2)


def _residual(layers: Layers, shape: ResNetShape, c_in: int, planes: int, stride: int) -> Residual:
    if shape.block == "basic":
        c_out = planes
        convs = [ConvNorm(layers, c_in, planes, 3, stride), ConvNorm(layers, planes, planes, 3, relu=False)]
    else:
        c_out = planes * _BOTTLENECK
        width = planes * shape.width_per_group // 64 * shape.groups
        convs = [
            ConvNorm(layers, c_in, width, 1),
            ConvNorm(layers, width, width, 3, stride, shape.groups),
            ConvNorm(layers, width, c_out, 1, relu=False),
        ]
    same = stride == 1 and c_in == c_out
    return Residual(convs, nn.Identity() if same else ConvNorm(layers, c_in, c_out, 1, stride, relu=False))


def _make_mobile(layers: Layers, shape: MobileShape, share: float, small: bool) -> HandcraftedBackbone:
    def channels(count: float) -> int:
        """As torchvision rounds them: to eights, never by more than a tenth downwards."""
        near = max(8, int(share * count + 4) // 8 * 8)
        return near if near >= 0.9 * share * count else near + 8

    c_in = channels(32 * shape.width)
    stem = ConvNorm(layers, 3, c_in, 3, 1 if small else 2)
    repeats, stages = iter(shape.repeats), []
    for s, groups in enumerate(_INVERTED):
        blocks: list[nn.Module] = []
        for expand, count, first_stride in groups:
            for i in range(next(repeats)):
                stride = first_stride if not i and not (small and s == 0) else 1
                c_out = channels(count * shape.width)
                blocks.append(_inverted(layers, c_in, c_out, stride, expand))
                c_in = c_out
        stages.append(nn.Sequential(*blocks))
    dim = channels(1280 * max(1.0, shape.width))
    return HandcraftedBackbone(stem, stages, Head(layers, c_in, dim), dim, level=0 if small else 2)


def _inverted(layers: Layers, c_in: int, c_out: int, stride: int, expand: int) -> nn.Module:
    if expand > 1:
        return InvertedResidual(layers, c_in, c_out, 3, stride, expand)
    return nn.Sequential(  # which has nothing to expand, and no residual
        ConvNorm(layers, c_in, c_in, 3, stride, c_in), ConvNorm(layers, c_in, c_out, 1, relu=False)
    )
