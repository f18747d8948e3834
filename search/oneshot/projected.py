"""Projected: one network with its projector, in plain torch."""

from __future__ import annotations

from torch import Tensor, nn

from search.nets import Net
from search.supernet import projector_of
from search.types import Architecture


class Projected(nn.Module):
    """[B, 3, H, W] -> [B, projection_dim], with fresh weights.

    Args:
        net: the family.
        architecture: of that family.
        hidden_dim: width of the projector's hidden layer.
        projection_dim: width of its output.
    """

    def __init__(self, net: Net, architecture: Architecture, *, hidden_dim: int, projection_dim: int) -> None:
        super().__init__()
        self.backbone = net.build(architecture)
        self.projector = projector_of(int(self.backbone.embedding_dim), hidden_dim, projection_dim)

    def forward(self, x_BCHW: Tensor) -> Tensor:  # noqa: N803
        """See the class."""
        return self.projector(self.backbone(x_BCHW))  # type: ignore[no-any-return]
