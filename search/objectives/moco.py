"""MoCo v2: tell an image's other view, encoded by a slowly moving teacher, from other images' views.

He et al., CVPR 2020, algorithm 1; Chen et al., arXiv:2003.04297. In a supernet (DATA, CVPR 2022, section 3) the teacher
is always the largest network, and one update and one enqueue happen in each step however many students it has.

Symbols: B images, D features of a projection, K keys in the queue, N = B + K.
"""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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


class MoCo(nn.Module):
    """Teacher and queue of MoCo v2.

    Args:
        teacher: projects views [B,3,H,W] -> [B,D]; starts as a copy of the student's largest network.
        dim: D.
        queue: K.
        temperature: of the loss.
        generator: fills the queue with random directions.
    """

    queue_KD: Tensor  # noqa: N815
    enqueued: Tensor

    def __init__(
        self, teacher: nn.Module, *, dim: int, queue: int, temperature: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.teacher = teacher.requires_grad_(False)
        self.temperature = temperature
        self.register_buffer("queue_KD", F.normalize(torch.randn(queue, dim, generator=generator), dim=1))
        self.register_buffer("enqueued", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def targets(self, view_BCHW: Tensor) -> Tensor:
        """The teacher's keys [B, D] of the other view, normalized; with this batch's own normalization statistics."""
        return F.normalize(self.teacher(view_BCHW).float(), dim=1)

    def loss(self, projection_BD: Tensor, k_BD: Tensor) -> Tensor:
        """Of one student network; in fp32 throughout, because the temperature multiplies bf16's rounding by ten."""
        with torch.autocast(projection_BD.device.type, enabled=False):
            return info_nce(F.normalize(projection_BD.float(), dim=1), k_BD, self.queue_KD, self.temperature)

    @torch.no_grad()
    def update(self, student: Mapping[str, Tensor], k_BD: Tensor, *, ema: float) -> None:
        """Once a step, after the optimizer: move the teacher's parameters (never its buffers), then enqueue the keys.

        Args:
            student: the largest network's parameters by the teacher's names.
            k_BD: what ``targets`` returned; B divides K.
            ema: share of the teacher that stays.
        """
        mine = dict(self.teacher.named_parameters())
        torch._foreach_lerp_(list(mine.values()), [student[name] for name in mine], 1 - ema)
        start = int(self.enqueued) % len(self.queue_KD)
        self.queue_KD[start : start + len(k_BD)] = k_BD
        self.enqueued += len(k_BD)
