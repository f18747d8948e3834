"""Layers: the few words in which every net is written once, for plain torch and for a weight-sharing supernet alike.

A net asks for its numbers by label (``layers.value("layer3.kernel")``) and for its modules by role (``layers.conv``).
``PlainLayers`` answers with one architecture's integers and ``torch.nn`` modules; ``search.oneshot.space`` answers with
NNI's choices and mutable modules.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search.nets.depthwise import depthwise_conv2d


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
    """``nn.Conv2d`` whose depthwise form trains fast."""

    def forward(self, x_BCHW: Tensor) -> Tensor:  # noqa: N803
        """[B, c_in, H, W] -> [B, c_out, H/stride, W/stride]."""
        # In use, tracers and transforms see nothing but torch's own operators; the gradient of ours is for training.
        if not self.training and not torch.is_autocast_enabled("cpu"):
            return super().forward(x_BCHW)
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


def conv2d(x: Tensor, weight: Tensor, stride: int, padding: int, groups: int) -> Tensor:
    """``F.conv2d`` without bias; [B,c_in,H,W] with [c_out,c_in/groups,k,k] -> [B,c_out,H',W']."""
    if groups > 1 and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            return conv2d(x.float(), weight, stride, padding, groups)
    if groups > 1 and groups == x.shape[1] == weight.shape[0]:
        return depthwise_conv2d(x, weight, stride, padding)
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


def projector_of(c_in: int, hidden_dim: int, dim: int, *, norm: bool = True) -> nn.Sequential:
    """MoCo v2's projection head with the normalized hidden layer of MoCo v3: [B, c_in] -> [B, dim].

    Without ``norm``, as in MoCo v2, a short training hardly leaves the one direction that untrained networks give all
    images.
    """
    if not norm:
        return nn.Sequential(nn.Linear(c_in, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, dim))
    return nn.Sequential(
        nn.Linear(c_in, hidden_dim, bias=False), nn.BatchNorm1d(hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, dim)
    )
