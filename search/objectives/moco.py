"""MoCo v2: tell an image's other view, encoded by a slowly moving teacher, from other images' views.

He et al., CVPR 2020, algorithm 1; Chen et al., arXiv:2003.04297. In a supernet (DATA, CVPR 2022, section 3) the teacher
is always the largest network, and one update and one enqueue happen in each step however many students it has.

Symbols: B images, D features of a projection, K keys in the queue, N = B + K.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search.objectives.objective import Network, Objective, Tensors, follow

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.


def info_nce(q_BD: Tensor, k_BD: Tensor, queue_KD: Tensor, temperature: float) -> Tensor:
    """Contrastive loss of queries against their keys, the other keys of the batch, and a queue; all are L2-normalized.

    ``-log(exp(q.k/t) / (exp(q.k/t) + sum_j exp(q.n_j/t)))``, mean over B: equation 1 of He et al., but for the
    negatives n_j: the other keys of the same step are among them, as in MoCo v3 (Chen et al., ICCV 2021). With the
    queue alone a student can tell its key from the negatives by age: one direction for all images, which turns a
    little in each step, lowers the loss and learns nothing. Batch statistics, which a key and its query share, would
    serve the same purpose. Keys of the same step have the same age and the same statistics.
    """
    logits_BN = torch.cat([q_BD @ k_BD.T, q_BD @ queue_KD.T], dim=1) / temperature
    return F.cross_entropy(logits_BN, torch.arange(len(q_BD), device=q_BD.device))


class MoCo(Objective):
    """Teacher and queue of MoCo v2. Targets: the teacher's keys [B, D] of the second view, L2-normalized.

    Args:
        teacher: projects views [B,3,H,W] -> [B,D]; starts as a copy of the student's largest network.
        dim: D.
        queue: K.
        temperature: of the loss.
        generator: fills the queue with random directions.
    """

    def __init__(
        self, teacher: nn.Module, *, dim: int, queue: int, temperature: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.teacher = teacher.requires_grad_(False)
        self.temperature = temperature
        self.queue = Queue(queue, dim, generator)

    @torch.no_grad()
    def targets(self, x1_BCHW: Tensor, x2_BCHW: Tensor) -> Tensors:
        """The keys, with this batch's own normalization statistics."""
        return (F.normalize(self.teacher(x2_BCHW).float(), dim=1),)

    def encode(self, network: Network, x1_BCHW: Tensor, x2_BCHW: Tensor) -> Tensors:
        """Projections [B, D] of the first view."""
        return (network(x1_BCHW),)

    def loss(self, encoded: Tensors, targets: Tensors) -> Tensor:
        """In fp32 throughout, because the temperature multiplies bf16's rounding by ten."""
        (z_BD,), (k_BD,) = encoded, targets
        with torch.autocast(z_BD.device.type, enabled=False):
            return info_nce(F.normalize(z_BD.float(), dim=1), k_BD, self.queue.keys_KD, self.temperature)

    def others(self, targets: Tensors) -> Tensor:
        """The keys of the step and of the queue."""
        return torch.cat([targets[0], self.queue.keys_KD])

    def update(self, student: Mapping[str, Tensor], targets: Tensors, *, ema: float) -> None:
        """Move the teacher, then enqueue the keys."""
        follow(self.teacher, student, ema=ema)
        self.queue.enqueue(targets[0])


# ruff: noqa: N803 - a tensor's name ends in its shape.


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
