"""SimCLR: tell an image's other view from all other views of the batch; no teacher, no queue.

Chen et al., ICML 2020 (arXiv:2002.05709), algorithm 1.

Symbols: B images, D features of a projection.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from search.objectives.objective import Network, Objective, Tensors

# ruff: noqa: N803 - a tensor's name ends in its shape.


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


# ruff: noqa: N803, N806 - a tensor's name ends in its shape.


def nt_xent(z_2ND: Tensor, temperature: float) -> Tensor:
    """``-log(exp(cos(z_i, z_j) / t) / sum_{k != i} exp(cos(z_i, z_k) / t))``, j being the other view of i; a scalar.

    Args:
        z_2ND: projections, of any length, of the first views of N images and then of their second views.
        temperature: t.

    Raises:
        ValueError: an odd number of rows, or fewer than two images.

    Example:
        >>> z = torch.eye(4).repeat(2, 1)
        >>> float(nt_xent(z, 0.01)) < 1e-6  # views agree, images do not
        True
    """
    if len(z_2ND) % 2 or len(z_2ND) < 4:
        raise ValueError(f"{len(z_2ND)} projections; two views of at least 2 images are needed")
    # In fp32, because the temperature multiplies rounding; a view is never compared with itself.
    with torch.autocast(z_2ND.device.type, enabled=False):
        z_2ND = F.normalize(z_2ND.float(), dim=1)
        logits = (z_2ND @ z_2ND.T / temperature).fill_diagonal_(-torch.inf)
        count = len(z_2ND)
        other = (torch.arange(count, device=z_2ND.device) + count // 2) % count
        return F.cross_entropy(logits, other)
