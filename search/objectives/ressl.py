"""ReSSL: see how an image resembles those in the queue as a teacher does, who saw an easier view of it, more sharply.

Zheng et al., NeurIPS 2021 (arXiv:2107.09282), equations 4 to 6: no positives and no negatives. The teacher's view
should be weak (``Recipe.teacher_views``), its temperature the lower of the two: 0.04 against 0.1 in section 4.

Symbols: B images, D features of a projection, K keys in the queue.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search.objectives.moco import MoCo
from search.objectives.objective import Tensors

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.


def relation_loss(
    q_BD: Tensor, k_BD: Tensor, queue_KD: Tensor, temperature: float, teacher_temperature: float
) -> Tensor:
    """Cross-entropy of the student's relations to the queue against the teacher's; all are L2-normalized.

    ``-sum_j softmax_j(k.n_j / t_teacher) log softmax_j(q.n_j / t)``, mean over B.
    """
    wanted_BK = (k_BD @ queue_KD.T / teacher_temperature).softmax(dim=1)
    return F.cross_entropy(q_BD @ queue_KD.T / temperature, wanted_BK)


class ReSSL(MoCo):
    """MoCo's teacher and queue with a soft relation in place of positives.

    Args:
        teacher: projects views [B,3,H,W] -> [B,D]; starts as a copy of the student's largest network.
        dim: D.
        queue: K.
        temperature: of the student.
        teacher_temperature: lower than that.
        generator: fills the queue with random directions.
    """

    def __init__(
        self,
        teacher: nn.Module,
        *,
        dim: int,
        queue: int,
        temperature: float,
        teacher_temperature: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__(teacher, dim=dim, queue=queue, temperature=temperature, generator=generator)
        self.teacher_temperature = teacher_temperature

    def loss(self, encoded: Tensors, targets: Tensors) -> Tensor:
        """In fp32, as MoCo's."""
        (z_BD,), (k_BD,) = encoded, targets
        with torch.autocast(z_BD.device.type, enabled=False):
            q_BD = F.normalize(z_BD.float(), dim=1)
            return relation_loss(q_BD, k_BD, self.queue.keys_KD, self.temperature, self.teacher_temperature)


# ruff: noqa: N803, N806 - a tensor's name ends in its shape.


# The teacher's temperature, as a share of the student's.
_SHARPER = 0.5


def distillation(z_BD: Tensor, largest_BD: Tensor, others_ND: Tensor | None, temperature: float) -> Tensor:
    """Cross-entropy of a network's relations against the largest one's, which gets no gradient; a scalar in fp32.

    Args:
        z_BD: projections of the network, of any length.
        largest_BD: of the largest one, from the same views.
        others_ND: L2-normalized, what both are related to; None takes the largest network's own projections.
        temperature: of the network; the largest one's is half of it.
    """
    with torch.autocast(z_BD.device.type, enabled=False):
        k_BD = F.normalize(largest_BD.detach().float(), dim=1)
        others_ND = k_BD if others_ND is None else others_ND
        return relation_loss(F.normalize(z_BD.float(), dim=1), k_BD, others_ND, temperature, temperature * _SHARPER)
