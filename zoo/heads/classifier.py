"""Classifier: a linear layer on the pooled embedding."""

from __future__ import annotations

from torch import Tensor, nn

from search.nets import Backbone

# ruff: noqa: N803 - a tensor's name ends in its shape.


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


# ruff: noqa: N803 - a tensor's name ends in its shape.


class Trunk(nn.Module):
    """A backbone that trains with its head or, frozen, keeps its weights and its statistics.

    Args:
        backbone: the network; it becomes part of the head.
        frozen: no gradients, and eval mode for ever.
    """

    def __init__(self, backbone: Backbone, *, frozen: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.frozen = frozen
        backbone.requires_grad_(not frozen)

    def train(self, mode: bool = True) -> Trunk:
        """As torch's, but a frozen backbone stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def forward(self, x_NCHW: Tensor) -> dict[str, Tensor]:
        """[N, 3, R, R] -> the feature maps by name, finest first."""
        return self.backbone.features(x_NCHW)

    def embed(self, x_NCHW: Tensor) -> Tensor:
        """[N, 3, R, R] -> [N, D]."""
        return self.backbone(x_NCHW)  # type: ignore[no-any-return]
