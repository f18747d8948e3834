"""Matched: another objective, and the features of an outside teacher, which a head on the projections learns to match.

SEED (Fang et al., ICLR 2021, arXiv:2101.04731), equations 3 to 5: an image is to resemble the images of a queue as the
teacher says. Small networks gain most from it (DisCo, arXiv:2104.09124, table 1).

Symbols: B images, D features of a projection, E of the teacher, K features in the queue, N = B + K.
"""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search.objectives.moco import Queue
from search.objectives.objective import Network, Objective, Tensors


class Matched(Objective):
    """An objective whose targets end with what ``relations`` gives, which the step puts there.

    Args:
        inner: the other objective.
        dim: E.
        projection_dim: D.
        queue: K.
        weight: of the match, 0..1; the other objective has the rest.
        temperature: of the student.
        teacher_temperature: of the teacher; the lower of the two.
        generator: fills the queue with random directions, and draws the head.
    """

    def __init__(
        self,
        inner: Objective,
        *,
        dim: int,
        projection_dim: int,
        queue: int,
        weight: float,
        temperature: float,
        teacher_temperature: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.inner = inner
        self.head = nn.Linear(projection_dim, dim)
        nn.init.trunc_normal_(self.head.weight, std=projection_dim**-0.5, generator=generator)
        nn.init.zeros_(self.head.bias)
        self.seen = Queue(queue, dim, generator)
        self.weight, self.temperature, self.teacher_temperature = weight, temperature, teacher_temperature

    def targets(self, x1_BCHW: Tensor, x2_BCHW: Tensor) -> Tensors:
        """The other objective's, to which the features are appended; none where it has no weight."""
        return () if self.weight == 1 else self.inner.targets(x1_BCHW, x2_BCHW)

    @torch.no_grad()
    def relations(self, t_BE: Tensor) -> Tensors:
        """The teacher's features of a batch, L2-normalized, and how it relates them to the batch and the queue [B, N].

        All networks of a step are held against the same ones.
        """
        t_BE = F.normalize(t_BE.float(), dim=1)
        return t_BE, (self._products(t_BE, t_BE) / self.teacher_temperature).softmax(dim=1)

    def encode(self, network: Network, x1_BCHW: Tensor, x2_BCHW: Tensor) -> Tensors:
        """What the other objective encodes, if it has weight, and the head's features [B, E] of the first view."""
        encoded = (network(x1_BCHW),) if self.weight == 1 else self.inner.encode(network, x1_BCHW, x2_BCHW)
        return (*encoded, self.head(encoded[0]))

    def loss(self, encoded: Tensors, targets: Tensors) -> Tensor:
        """Of both, weighted; relations are to the teacher's features of the batch and of the queue."""
        (*own, f_BE), (*wanted, t_BE, related_BN) = encoded, targets
        with torch.autocast(f_BE.device.type, enabled=False):
            found_BN = self._products(F.normalize(f_BE.float(), dim=1), t_BE) / self.temperature
            matched = -(related_BN * found_BN.log_softmax(dim=1)).sum(dim=1).mean()
        if self.weight == 1:
            return matched
        return (1 - self.weight) * self.inner.loss(tuple(own), tuple(wanted)) + self.weight * matched

    def others(self, targets: Tensors) -> Tensor | None:
        """The other objective's."""
        return None if self.weight == 1 else self.inner.others(targets[:-2])

    def update(self, student: Mapping[str, Tensor], targets: Tensors, *, ema: float) -> None:
        """The other objective's, and the queue."""
        if self.weight < 1:
            self.inner.update(student, targets[:-2], ema=ema)
        self.seen.enqueue(targets[-2])

    def _products(self, z_BE: Tensor, t_BE: Tensor) -> Tensor:
        """With the batch and the queue, [B, N]; the queue is too large to be copied for it."""
        return torch.cat([z_BE @ t_BE.T, z_BE @ self.seen.keys_KD.T], dim=1)
