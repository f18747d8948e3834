"""Classifier: a linear layer on the pooled embedding."""

# ruff: noqa: N803 - a tensor's name ends in its shape.

from __future__ import annotations

from torch import Tensor, nn

from search.nets import Backbone
from zoo.heads.trunk import Trunk


class Classifier(nn.Module):
    """[N, 3, R, R] -> logits [N, num_classes].

    Args:
        backbone: becomes part of this module.
        num_classes: labels run from 0 to ``num_classes - 1``.
        frozen: train the linear layer only.
    """

    def __init__(self, backbone: Backbone, num_classes: int, *, frozen: bool = False) -> None:
        super().__init__()
        self.trunk = Trunk(backbone, frozen=frozen)
        self.linear = nn.Linear(backbone.embedding_dim, num_classes)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """See the class."""
        return self.linear(self.trunk.embed(x_NCHW))  # type: ignore[no-any-return]

    def outputs(self, x_NCHW: Tensor) -> dict[str, Tensor]:
        """What is exported: ``logits``."""
        return {"logits": self(x_NCHW)}
