"""What a backbone's feature maps are like, in the words of timm: ``channels()``, ``reduction()``, ``module_name()``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypedDict

import torch

from search.nets import Backbone


@dataclass(frozen=True, kw_only=True)
class Level:
    """One map: its name, its channels, and how many pixels of the input a position stands for."""

    name: str
    channels: int
    stride: int


class LevelDict(TypedDict):
    """A map as timm describes it."""

    module: str
    num_chs: int
    reduction: int


@dataclass(frozen=True, kw_only=True)
class FeatureInfo:
    """All maps of a backbone, finest first; iterating gives timm's dicts."""

    levels: tuple[Level, ...]

    def channels(self) -> list[int]:
        """Of each map."""
        return [level.channels for level in self.levels]

    def reduction(self) -> list[int]:
        """The stride of each map."""
        return [level.stride for level in self.levels]

    def module_name(self) -> list[str]:
        """The name of each map."""
        return [level.name for level in self.levels]

    def __iter__(self) -> Iterator[LevelDict]:
        for level in self.levels:
            yield LevelDict(module=level.name, num_chs=level.channels, reduction=level.stride)

    def __getitem__(self, index: int) -> LevelDict:
        return list(self)[index]

    def __len__(self) -> int:
        return len(self.levels)


@torch.no_grad()
def feature_info(backbone: Backbone, resolution_px: int) -> FeatureInfo:
    """What ``backbone.features`` returns, seen on an image of zeros; the backbone stays as it is.

    Args:
        backbone: in any mode.
        resolution_px: side of its input, in pixels.
    """
    was_training = backbone.training
    parameter = next(backbone.parameters())
    x_NCHW = torch.zeros(1, 3, resolution_px, resolution_px, device=parameter.device, dtype=parameter.dtype)  # noqa: N806
    maps = backbone.eval().features(x_NCHW)
    backbone.train(was_training)
    return FeatureInfo(
        levels=tuple(
            Level(name=name, channels=level.shape[1], stride=2 ** int(name[1:])) for name, level in maps.items()
        )
    )
