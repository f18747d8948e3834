"""Mobile: 22 inverted-residual layers of chosen kernel and expansion, any of them skipped where shapes allow.

Macro-structure, block and head are those of the FBNet space (Wu et al., CVPR 2019, table 1). Two sets of strides:
``mobile`` at 32-64 px, as used by the published device tables (HELP, NeurIPS 2021; HW-NAS-Bench, ICLR 2021), and
``mobile-photo`` at 96-320 px, with the strides of that table. The weights of both have the same names and shapes.
Expansions share weights by prefix, kernels by center.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from hardware_profiles import OpKey
from search.nets.layers import Backbone, ConvNorm, Layers, PlainLayers
from search.nets.net import Choice, Net, Part, square_op
from search.types import Architecture

STEM_CHANNELS = 16  # FBNet's (Wu et al., CVPR 2019, table 1), as all below
HEAD_CHANNELS = 1504
KERNELS = (3, 5)
EXPANSIONS = (1, 3, 6)
# One row a stage: layers, output channels.
STAGES = ((1, 16), (4, 24), (4, 32), (4, 64), (4, 112), (4, 184), (1, 352))
BLOCKS = tuple(f"k{kernel}_e{expand}" for expand, kernel in itertools.product(EXPANSIONS, KERNELS))


@dataclass(frozen=True, kw_only=True)
class Strides:
    """Where the maps shrink.

    Args:
        stem: stride of the stem.
        stages: stride of the first layer of each stage.
    """

    stem: int
    stages: tuple[int, ...]

    @property
    def layers(self) -> tuple[tuple[int, int, int], ...]:
        """c_in, c_out and stride of each layer."""
        rows = []
        c_in = STEM_CHANNELS
        for (count, c_out), stride in zip(STAGES, self.stages, strict=True):
            for i in range(count):
                rows.append((c_in, c_out, stride if i == 0 else 1))
                c_in = c_out
        return tuple(rows)


SMALL_IMAGES = Strides(stem=1, stages=(1, 1, 2, 2, 1, 2, 1))
PHOTOS = Strides(stem=2, stages=(1, 2, 2, 2, 1, 2, 1))


class InvertedResidual(nn.Module):
    """1x1 expand, kxk depthwise, 1x1 project, a residual where shapes allow: [B,c_in,H,W] -> [B,c_out,H/s,W/s]."""

    def __init__(self, layers: Layers, c_in: int, c_out: int, kernel: Any, stride: int, expand: Any) -> None:
        super().__init__()
        hidden = expand * c_in
        self.expand = ConvNorm(layers, c_in, hidden, 1)
        self.depthwise = ConvNorm(layers, hidden, hidden, kernel, stride, groups=hidden)
        self.project = ConvNorm(layers, hidden, c_out, 1, relu=False)
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x_BCHW: Tensor) -> Tensor:  # noqa: N803
        """See the class."""
        y_BCHW: Tensor = self.project(self.depthwise(self.expand(x_BCHW)))  # noqa: N806
        return x_BCHW + y_BCHW if self.residual else y_BCHW


class Head(nn.Module):
    """1x1 convolution and global average pooling: [B, c_in, H, W] -> [B, c_out]."""

    def __init__(self, layers: Layers, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv = ConvNorm(layers, c_in, c_out, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:  # noqa: N803
        """See the class."""
        return self.conv(x_BCHW).mean((2, 3))  # type: ignore[no-any-return]


class MobileBackbone(Backbone):
    """Stem, 22 layers, head; maps at strides 1, 2, 4 and 8, of photos at 4, 8, 16 and 32."""

    embedding_dim: int = HEAD_CHANNELS

    def __init__(self, layers: Layers, strides: Strides) -> None:
        super().__init__()
        self.strides = strides
        self.stem = ConvNorm(layers, 3, STEM_CHANNELS, 3, strides.stem)
        self.layers = nn.ModuleList()
        for i, (c_in, c_out, stride) in enumerate(strides.layers):
            kernel, expand = layers.value(f"layer{i}.kernel"), layers.value(f"layer{i}.expand")
            block = InvertedResidual(layers, c_in, c_out, kernel, stride, expand)
            self.layers.append(layers.optional(f"layer{i}.used", block) if block.residual else block)
        self.head = Head(layers, STAGES[-1][1], HEAD_CHANNELS)

    def features(self, x_BCHW: Tensor) -> dict[str, Tensor]:  # noqa: N803
        """[B,3,H,W] -> maps by name, ``p3`` of stride ``2**3``, with 24, 32, 112 and 352 channels.

        ``mobile``: p0, p1, p2, p3; of photos: p2, p3, p4, p5.
        """
        maps = {}
        level = int(self.strides.stem == 2)
        x_BCHW = self.stem(x_BCHW)  # noqa: N806
        for layer, (_, c_out, stride) in zip(self.layers, self.strides.layers, strict=True):
            level += stride == 2
            x_BCHW = layer(x_BCHW)  # noqa: N806
            if c_out != STAGES[0][1]:  # photos leave it at a stride that no head reads
                maps[f"p{level}"] = x_BCHW
        return maps

    def embed(self, map_BCHW: Tensor) -> Tensor:  # noqa: N803
        """[B, 352, H, W] -> [B, 1504]."""
        return self.head(map_BCHW)  # type: ignore[no-any-return]


class Mobile(Net):
    """The family: per layer one of six blocks or, where input and output agree, skip."""

    weights = "mobile"

    def __init__(self, name: str, strides: Strides) -> None:
        self.name, self.strides = name, strides
        self._optional = [stride == 1 and c_in == c_out for c_in, c_out, stride in strides.layers]
        self.space = tuple(
            Choice(name=f"layer{i}", options=("skip", *BLOCKS) if optional else BLOCKS)
            for i, optional in enumerate(self._optional)
        )

    def values(self, architecture: Architecture) -> dict[str, int]:
        """A skipped layer keeps the smallest block's numbers beside ``used`` = 0."""
        values: dict[str, int] = {}
        for i, option in enumerate(architecture.choices):
            kernel, expand = _kernel_expand(BLOCKS[0] if option == "skip" else str(option))
            values |= {f"layer{i}.kernel": kernel, f"layer{i}.expand": expand}
            if self._optional[i]:
                values[f"layer{i}.used"] = int(option != "skip")
        return values

    def labels(self) -> dict[str, tuple[int, ...]]:
        """Kernel and expansion of every layer, and whether it is used."""
        labels: dict[str, tuple[int, ...]] = {}
        for i, optional in enumerate(self._optional):
            labels |= {f"layer{i}.kernel": KERNELS, f"layer{i}.expand": EXPANSIONS}
            if optional:
                labels[f"layer{i}.used"] = (0, 1)
        return labels

    def make(self, layers: Layers) -> MobileBackbone:
        """See ``Net``."""
        return MobileBackbone(layers, self.strides)

    def initialize(self, module: nn.Module) -> None:
        """Kaiming, and a zero scale on the last normalization of each residual block: it starts as the identity.

        Without it 22 random layers leave nothing of the image to learn from.
        """
        super().initialize(module)
        for part in module.modules():
            if isinstance(part, InvertedResidual) and part.residual:
                norm = part.project[1]
                assert isinstance(norm, nn.BatchNorm2d)
                nn.init.zeros_(norm.weight)

    def parts(self, resolution_px: int) -> tuple[Part, ...]:
        """Stem, one part a layer, head."""
        stem = square_op("stem", 3, STEM_CHANNELS, 3, self.strides.stem, 1, resolution_px)
        parts = [Part(choices=(), ops=((stem,),))]
        side = -(-resolution_px // self.strides.stem)
        for i, (c_in, c_out, stride) in enumerate(self.strides.layers):
            blocks = (
                () if option == "skip" else (square_op("mbconv", c_in, c_out, *_stride(str(option), stride), side),)
                for option in self.space[i].options
            )
            parts.append(Part(choices=(i,), ops=tuple(blocks)))
            side = -(-side // stride)
        head = square_op("head", STAGES[-1][1], HEAD_CHANNELS, 1, 1, 1, side)
        return (*parts, Part(choices=(), ops=((head,),)))

    def build_op(self, key: OpKey) -> nn.Module:
        """See ``Net``."""
        layers = PlainLayers({})
        match key.kind:
            case "stem":
                return ConvNorm(layers, key.c_in, key.c_out, key.kernel, key.stride)
            case "mbconv":
                return InvertedResidual(layers, key.c_in, key.c_out, key.kernel, key.stride, key.expand)
            case "head":
                return Head(layers, key.c_in, key.c_out)
        raise ValueError(f"{self.name} has no block of kind {key.kind!r}; it has stem, mbconv and head")


def _kernel_expand(block: str) -> tuple[int, int]:
    kernel, expand = block.split("_")
    return int(kernel[1:]), int(expand[1:])


def _stride(block: str, stride: int) -> tuple[int, int, int]:
    kernel, expand = _kernel_expand(block)
    return kernel, stride, expand
