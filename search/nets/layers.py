"""Layers: the few words in which every net is written once, for plain torch and for a weight-sharing supernet alike.

A net asks for its numbers by label (``layers.value("layer3.kernel")``) and for its modules by role (``layers.conv``).
``PlainLayers`` answers with one architecture's integers and ``torch.nn`` modules; ``search.oneshot.space`` answers with
NNI's choices and mutable modules.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from search.nets.depthwise import conv2d


class Layers(Protocol):
    """What a net may ask for. ``Any`` is an int, or an expression over choices that adds and multiplies like one."""

    def value(self, label: str) -> Any:
        """The number chosen under ``label``."""

    def conv(self, c_in: Any, c_out: Any, kernel: Any, stride: int = 1, groups: Any = 1) -> nn.Module:
        """A convolution without bias that keeps the map's size divided by ``stride`` (padding ``kernel // 2``)."""

    def norm(self, channels: Any) -> nn.Module:
        """Batch normalization."""

    def optional(self, label: str, block: nn.Module) -> nn.Module:
        """``block``, or the identity where the choice under ``label`` is 0."""

    def repeat(self, label: str, blocks: Sequence[Callable[[], nn.Module]]) -> nn.Module:
        """The first ``value(label)`` of the modules that ``blocks`` make, in sequence."""


class PlainLayers:
    """One architecture in plain torch.

    Args:
        values: the chosen number of each label.
    """

    def __init__(self, values: Mapping[str, int]) -> None:
        self._values = values

    def value(self, label: str) -> int:
        """See ``Layers``."""
        return self._values[label]

    def conv(self, c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
        """See ``Layers``."""
        return Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)

    def norm(self, channels: int) -> nn.Module:
        """See ``Layers``."""
        return nn.BatchNorm2d(channels)

    def optional(self, label: str, block: nn.Module) -> nn.Module:
        """See ``Layers``."""
        return block if self._values[label] else nn.Identity()

    def repeat(self, label: str, blocks: Sequence[Callable[[], nn.Module]]) -> nn.Module:
        """See ``Layers``."""
        return nn.Sequential(*(make() for make in blocks[: self._values[label]]))


class Conv2d(nn.Conv2d):
    """``nn.Conv2d`` whose depthwise form trains fast on small maps."""

    def forward(self, x_BCHW: Tensor) -> Tensor:  # noqa: N803
        """[B, c_in, H, W] -> [B, c_out, H/stride, W/stride]."""
        return conv2d(x_BCHW, self.weight, self.stride[0], int(self.padding[0]), self.groups)


class ConvNorm(nn.Sequential):
    """Convolution, batch normalization and, unless ``relu`` is false, ReLU: [B,c_in,H,W] -> [B,c_out,H/s,W/s]."""

    def __init__(
        self, layers: Layers, c_in: Any, c_out: Any, kernel: Any, stride: int = 1, groups: Any = 1, relu: bool = True
    ) -> None:
        parts = [layers.conv(c_in, c_out, kernel, stride, groups), layers.norm(c_out)]
        super().__init__(*parts, *([nn.ReLU(inplace=True)] if relu else []))


class Backbone(nn.Module, ABC):
    """What every net builds: a pyramid of feature maps and one embedding per image."""

    embedding_dim: Any

    @abstractmethod
    def features(self, x_BCHW: Tensor) -> dict[str, Tensor]:  # noqa: N803
        """Maps by name: ``p3`` has stride ``2**3``, shape [B, C, H/8, W/8]; finest first."""

    @abstractmethod
    def embed(self, map_BCHW: Tensor) -> Tensor:  # noqa: N803
        """The coarsest map -> [B, embedding_dim]."""

    def forward(self, x_BCHW: Tensor) -> Tensor:  # noqa: N803
        """[B, 3, H, W] -> [B, embedding_dim], the globally pooled embedding."""
        return self.embed(list(self.features(x_BCHW).values())[-1])
