"""Queue: the keys of the last steps, as negatives (He et al., CVPR 2020, section 3.2).

Symbols: B keys of a step, K keys in the queue, D features of each.
"""

# ruff: noqa: N803 - a tensor's name ends in its shape.

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Queue(nn.Module):
    """The last K keys, L2-normalized.

    Args:
        size: K.
        dim: D.
        generator: fills it with random directions.
    """

    keys_KD: Tensor  # noqa: N815
    enqueued: Tensor

    def __init__(self, size: int, dim: int, generator: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("keys_KD", F.normalize(torch.randn(size, dim, generator=generator), dim=1))
        self.register_buffer("enqueued", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def enqueue(self, k_BD: Tensor) -> None:
        """Once a step, in place of the oldest; B divides K."""
        start = int(self.enqueued) % len(self.keys_KD)
        self.keys_KD[start : start + len(k_BD)] = k_BD
        self.enqueued += len(k_BD)
