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
        projector_norm: normalize the hidden layer.
    """

    def __init__(
        self,
        net: Net,
        architecture: Architecture,
        *,
        hidden_dim: int,
        projection_dim: int,
        projector_norm: bool = True,
    ) -> None:
        super().__init__()
        self.backbone = net.build(architecture)
        width = int(self.backbone.embedding_dim)
        self.projector = projector_of(width, hidden_dim, projection_dim, norm=projector_norm)

    def forward(self, x_BCHW: Tensor) -> Tensor:  # noqa: N803
        """See the class."""
        return self.projector(self.backbone(x_BCHW))  # type: ignore[no-any-return]
