"""ResNet: DATA's dynamic bottleneck ResNet; stem width, stage widths and depths are chosen, prefixes are shared.

Net ``resnet-ar50to101`` has the numbers of the released ar50to101v2 space for 224 px (7x7 stem, max-pool);
``resnet-photo`` is the same design at the width of small devices, its largest network a ResNet-50 of 3/8 of the width;
``resnet`` is for 32-96 px (3x3 stem, stride 1). Chang et al., CVPR 2022, section 3; a deeper stage keeps the first
blocks of the shallower one, and the first block of a stage carries the stride on its 3x3 ("pytorch" style).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from hardware_profiles import OpKey
from search.nets.layers import Backbone, ConvNorm, Layers, PlainLayers
from search.nets.net import Choice, Net, Part, square_op
from search.types import Architecture

EXPANSION = 4  # of a bottleneck (He et al., CVPR 2016)


@dataclass(frozen=True, kw_only=True)
class ResNetPreset:
    """The options of one family.

    Args:
        name: of the net.
        stem_kernel: 7 (stride 2, then a max-pool of stride 2) or 3 (stride 1, no pool).
        stem_widths: channels after the stem.
        widths: per stage, the channels of a bottleneck's 3x3 convolution; its output has four times as many.
        depths: per stage, how many bottlenecks.
    """

    name: str
    stem_kernel: int
    stem_widths: tuple[int, ...]
    widths: tuple[tuple[int, ...], ...]
    depths: tuple[tuple[int, ...], ...]

    @property
    def stem_stride(self) -> int:
        """Of stem and pool together."""
        return 4 if self.stem_kernel == 7 else 1

    @property
    def first_level(self) -> int:
        """Log2 of the first stage's stride, which names its map."""
        return self.stem_stride.bit_length() - 1


AR50TO101 = ResNetPreset(
    name="resnet-ar50to101",
    stem_kernel=7,
    stem_widths=(32, 48, 64),
    widths=((48, 64, 80), (96, 128, 160), (192, 256, 320), (384, 512, 640)),
    depths=((2, 3, 4), (2, 4, 6), tuple(range(5, 30, 2)), (2, 3, 4)),
)
PHOTO = ResNetPreset(
    name="resnet-photo",
    stem_kernel=7,
    stem_widths=(16, 24, 32),
    widths=((12, 16, 20, 24), (24, 32, 40, 48), (48, 64, 80, 96), (96, 128, 160, 192)),
    depths=((1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5, 6), (1, 2, 3)),
)
SMALL = ResNetPreset(
    name="resnet",
    stem_kernel=3,
    stem_widths=(16, 24, 32),
    widths=((12, 16, 20), (24, 32, 40), (48, 64, 80), (96, 128, 160)),
    depths=((1, 2, 3), (1, 2, 3), (2, 3, 4, 5, 6), (1, 2, 3)),
)


class Stem(nn.Module):
    """The first convolution and, after a 7x7, the max-pool: [B, 3, H, W] -> [B, c_out, H/stride, W/stride]."""

    def __init__(self, layers: Layers, c_out: Any, kernel: int) -> None:
        super().__init__()
        self.conv = ConvNorm(layers, 3, c_out, kernel, 2 if kernel == 7 else 1)
        self.pool = nn.MaxPool2d(3, 2, 1) if kernel == 7 else nn.Identity()

    def forward(self, x_BCHW: Tensor) -> Tensor:  # noqa: N803
        """See the class."""
        return self.pool(self.conv(x_BCHW))  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """1x1, 3x3 (stride), 1x1 and the shortcut: [B, c_in, H, W] -> [B, 4 * width, H/stride, W/stride]."""

    def __init__(self, layers: Layers, c_in: Any, width: Any, stride: int, *, first: bool) -> None:
        super().__init__()
        c_out = width * EXPANSION
        self.reduce = ConvNorm(layers, c_in, width, 1)
        self.conv = ConvNorm(layers, width, width, 3, stride)
        self.project = ConvNorm(layers, width, c_out, 1, relu=False)
        self.shortcut = ConvNorm(layers, c_in, c_out, 1, stride, relu=False) if first else nn.Identity()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x_BCHW: Tensor) -> Tensor:  # noqa: N803
        """See the class."""
        y_BCHW = self.project(self.conv(self.reduce(x_BCHW)))  # noqa: N806
        return self.relu(y_BCHW + self.shortcut(x_BCHW))  # type: ignore[no-any-return]


class ResNetBackbone(Backbone):
    """Stem and four stages; four maps, the strides doubling."""

    def __init__(self, layers: Layers, preset: ResNetPreset) -> None:
        super().__init__()
        c_in = layers.value("stem.width")
        self.stem = Stem(layers, c_in, preset.stem_kernel)
        self.stages = nn.ModuleList()
        for s, depths in enumerate(preset.depths):
            width, stride = layers.value(f"stage{s}.width"), 1 if s == 0 else 2
            first = partial(Bottleneck, layers, c_in, width, stride, first=True)
            rest = partial(Bottleneck, layers, width * EXPANSION, width, 1, first=False)
            self.stages.append(layers.repeat(f"stage{s}.depth", [first, *[rest] * (max(depths) - 1)]))
            c_in = width * EXPANSION
        self.embedding_dim = c_in
        self._first_level = preset.first_level

    def features(self, x_BCHW: Tensor) -> dict[str, Tensor]:  # noqa: N803
        """[B,3,H,W] -> p2..p5 (7x7 stem) or p0..p3 (3x3 stem), named by log2 of the stride."""
        maps = {}
        x_BCHW = self.stem(x_BCHW)  # noqa: N806
        for level, stage in enumerate(self.stages, start=self._first_level):
            x_BCHW = maps[f"p{level}"] = stage(x_BCHW)  # noqa: N806
        return maps

    def embed(self, map_BCHW: Tensor) -> Tensor:  # noqa: N803
        """[B, C, H, W] -> [B, C]: the mean over positions."""
        return map_BCHW.mean((2, 3))


class ResNet(Net):
    """The family of one preset."""

    def __init__(self, preset: ResNetPreset) -> None:
        self.preset = preset
        self.name = preset.name
        widths = tuple(Choice(name=f"stage{s}.width", options=w) for s, w in enumerate(preset.widths))
        depths = tuple(Choice(name=f"stage{s}.depth", options=d) for s, d in enumerate(preset.depths))
        self.space = (Choice(name="stem.width", options=preset.stem_widths), *widths, *depths)
        self.map_choices = {f"p{preset.first_level + s}": 1 + s for s in range(len(widths))}

    def values(self, architecture: Architecture) -> dict[str, int]:
        """The choices are the numbers."""
        return {choice.name: int(v) for choice, v in zip(self.space, architecture.choices, strict=True)}

    def labels(self) -> dict[str, tuple[int, ...]]:
        """The choices are the labels."""
        return {choice.name: tuple(int(option) for option in choice.options) for choice in self.space}

    def make(self, layers: Layers) -> ResNetBackbone:
        """See ``Net``."""
        return ResNetBackbone(layers, self.preset)

    def initialize(self, module: nn.Module) -> None:
        """Kaiming, and a zero scale on the last normalization of each block, so that it starts as its shortcut."""
        super().initialize(module)
        for part in module.modules():
            if isinstance(part, Bottleneck):
                norm = part.project[1]
                assert isinstance(norm, nn.BatchNorm2d)
                nn.init.zeros_(norm.weight)

    def parts(self, resolution_px: int) -> tuple[Part, ...]:
        """The stem, and a part a stage that depends on the width before it, its width and its depth."""
        p = self.preset
        side = -(-resolution_px // p.stem_stride)
        stem = tuple((square_op("stem", 3, w, p.stem_kernel, p.stem_stride, 1, resolution_px),) for w in p.stem_widths)
        parts = [Part(choices=(0,), ops=stem)]
        before = p.stem_widths
        for s, (widths, depths) in enumerate(zip(p.widths, p.depths, strict=True)):
            stride = 1 if s == 0 else 2
            after = -(-side // stride)
            grid = itertools.product(before, widths, depths)
            ops = tuple(_stage_ops(c_in, width, depth, stride, side, after) for c_in, width, depth in grid)
            parts.append(Part(choices=(s, 1 + s, 1 + len(p.widths) + s), ops=ops))
            before, side = tuple(w * EXPANSION for w in widths), after
        return tuple(parts)

    def build_op(self, key: OpKey) -> nn.Module:
        """See ``Net``."""
        layers = PlainLayers({})
        match key.kind:
            case "stem":
                return Stem(layers, key.c_out, key.kernel)
            case "bottleneck_first" | "bottleneck":
                first = key.kind == "bottleneck_first"
                return Bottleneck(layers, key.c_in, key.c_out // EXPANSION, key.stride, first=first)
        raise ValueError(f"{self.name} has no block of kind {key.kind!r}; it has stem, bottleneck_first and bottleneck")


def _stage_ops(c_in: int, width: int, depth: int, stride: int, side: int, after: int) -> tuple[OpKey, ...]:
    c_out = width * EXPANSION
    first = square_op("bottleneck_first", c_in, c_out, 3, stride, EXPANSION, side)
    rest = square_op("bottleneck", c_out, c_out, 3, 1, EXPANSION, after)
    return (first, *[rest] * (depth - 1))
