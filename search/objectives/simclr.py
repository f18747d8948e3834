"""SimCLR: tell an image's other view from all other views of the batch; no teacher, no queue.

Chen et al., ICML 2020 (arXiv:2002.05709), algorithm 1.

Symbols: B images, D features of a projection.
"""

# ruff: noqa: N803 - a tensor's name ends in its shape.

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from search.objectives.nt_xent import nt_xent
from search.objectives.objective import Network, Objective, Tensors


class SimCLR(Objective):
    """NT-Xent between the two views; there are no targets.

    Args:
        temperature: of the loss.
    """

    def __init__(self, *, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def targets(self, x1_BCHW: Tensor, x2_BCHW: Tensor) -> Tensors:
        """None."""
        return ()

    def encode(self, network: Network, x1_BCHW: Tensor, x2_BCHW: Tensor) -> Tensors:
        """Projections, 2 x [B, D], of both views; they pass the network together and share batch statistics."""
        return torch.chunk(network(torch.cat([x1_BCHW, x2_BCHW])), 2)

    def loss(self, encoded: Tensors, targets: Tensors) -> Tensor:
        """NT-Xent."""
        return nt_xent(torch.cat(encoded), self.temperature)

    def update(self, student: Mapping[str, Tensor], targets: Tensors, *, ema: float) -> None:
        """Nothing."""
