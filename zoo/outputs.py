"""What an exported network returns: for classification its embedding, for dense tasks its feature maps too."""

# ruff: noqa: N803 - a tensor's name ends in its shape.

from __future__ import annotations

from torch import Tensor, nn

from search.nets import Backbone
from search.types import Task


class AllOutputs(nn.Module):
    """[N, 3, R, R] -> ``p0``, ``p1``, ... (the maps at strides 2**i) and ``embedding`` [N, D]."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.train(backbone.training)

    def forward(self, x_NCHW: Tensor) -> dict[str, Tensor]:
        """See the class."""
        maps = self.backbone.features(x_NCHW)
        return {**maps, "embedding": self.backbone.embed(list(maps.values())[-1])}


def deployed(backbone: Backbone, task: Task) -> nn.Module:
    """The module to export for ``task``."""
    return backbone if task is Task.CLS else AllOutputs(backbone)
