"""DenseCL: MoCo v2, and the same for every position of a feature map, for networks that detect and segment.

Wang et al., CVPR 2021 (arXiv:2011.09157), equations 2 to 4. Which position of the second view a position of the first
one should resemble is found among backbone features. Here those of the teacher alone, on both views: then all networks
of a step share one matching, and a network that is narrower than the teacher needs no channels that it has not
(GAIA-ssl's release multiplies the two backbones' features, which fails for such). The other keys of a step are among
the negatives, pooled as the queue's are, for the reason that ``search.objectives.moco.info_nce`` gives.

The map is the coarsest that still has four positions a side at the smallest crops, as 16 positions are the least
among which there is something to match: stride 4 where training starts at 16 px, the last map at 224 px. A map of more
than eight positions a side is pooled to eight.

Symbols: B images, C channels, H and W of a map, S positions of a view, D features of a projection, K keys in the queue.
"""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search.nets import Backbone
from search.objectives.moco import Queue, info_nce
from search.objectives.objective import Network, Objective, Tensors, follow

_LEAST_SIDE, _LARGEST_SIDE = 4, 8  # positions a side: fewer have no neighbors, more cost memory and add none


def match(map1_BCS: Tensor, map2_BCS: Tensor) -> Tensor:
    """For each position of the first map the most similar (cosine) of the second: [B, S], equation 4."""
    return (F.normalize(map1_BCS, dim=1).mT @ F.normalize(map2_BCS, dim=1)).argmax(dim=2)


def dense_info_nce(q_BSD: Tensor, k_BSD: Tensor, pooled_BD: Tensor, queue_KD: Tensor, temperature: float) -> Tensor:
    """Contrastive loss of every position against its key; all are L2-normalized. Mean over B and S: equation 2.

    Args:
        q_BSD: the queries.
        k_BSD: to each its key, of the same image.
        pooled_BD: one key an image; the other images' are negatives.
        queue_KD: negatives, too.
        temperature: of the loss.
    """
    own_BS1 = (q_BSD * k_BSD).sum(dim=2, keepdim=True)
    others_BSB = q_BSD @ pooled_BD.T
    itself_B1B = torch.eye(len(q_BSD), dtype=torch.bool, device=q_BSD.device)[:, None]
    others_BSB = others_BSB.masked_fill(itself_B1B, -torch.inf)
    logits_BSN = torch.cat([own_BS1, others_BSB, q_BSD @ queue_KD.T], dim=2) / temperature
    return (logits_BSN.logsumexp(dim=2) - logits_BSN[..., 0]).mean()


class DenseCL(Objective):
    """Teacher, queues and dense projectors.

    Targets: keys [B, D] of the images; keys [B, S, D] matched to the first view's positions; pooled dense keys [B, D].

    Args:
        teacher: projects views [B,3,H,W] -> [B,D]; starts as a copy of the student's largest network.
        crop_px: the smallest crops' side, which decides the map.
        hidden_dim: width of the dense projector's hidden layer.
        dim: D.
        queue: K, of each of the two queues.
        temperature: of both losses.
        weight: of the dense loss, the other's being ``1 - weight``; lambda of equation 3.
        generator: fills the queues with random directions.
    """

    def __init__(
        self,
        teacher: nn.Module,
        *,
        crop_px: int,
        hidden_dim: int,
        dim: int,
        queue: int,
        temperature: float,
        weight: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.teacher = teacher.requires_grad_(False)
        self.temperature, self.weight = temperature, weight
        backbone = teacher.backbone
        assert isinstance(backbone, Backbone)
        self.level, channels = dense_map(backbone, crop_px)
        self.dense = DenseProjector(channels, hidden_dim, dim)
        self.dense_teacher = DenseProjector(channels, hidden_dim, dim).requires_grad_(False)
        self.dense_teacher.load_state_dict(self.dense.state_dict())
        self.queue, self.dense_queue = (Queue(queue, dim, generator) for _ in range(2))

    @torch.no_grad()
    def targets(self, x1_BCHW: Tensor, x2_BCHW: Tensor) -> Tensors:
        """Each view passes the teacher with its own normalization statistics."""
        backbone, projector = self.teacher.backbone, self.teacher.projector
        assert isinstance(backbone, Backbone) and isinstance(projector, nn.Module)
        map1_BCHW, maps2 = positions(backbone.features(x1_BCHW)[self.level]), backbone.features(x2_BCHW)
        map2_BCHW = positions(maps2[self.level])
        k_BD = F.normalize(projector(backbone.embed(list(maps2.values())[-1])).float(), dim=1)
        dense_BDS = self.dense_teacher(map2_BCHW).float().flatten(2)
        to_BS = match(map1_BCHW.float().flatten(2), map2_BCHW.float().flatten(2))
        matched_BSD = dense_BDS.mT.gather(1, to_BS[..., None].expand(-1, -1, dense_BDS.shape[1]))
        return (k_BD, F.normalize(matched_BSD, dim=2), F.normalize(dense_BDS.mean(dim=2), dim=1))

    def encode(self, network: Network, x1_BCHW: Tensor, x2_BCHW: Tensor) -> Tensors:
        """Projections of the first view: [B, D] of images, [B, S, D] of positions."""
        maps = network.backbone.features(x1_BCHW)
        z_BD = network.projector(network.backbone.embed(list(maps.values())[-1]))
        return (z_BD, self.dense(positions(maps[self.level])).flatten(2).mT)

    def loss(self, encoded: Tensors, targets: Tensors) -> Tensor:
        """Equation 3; in fp32, as MoCo's."""
        (z_BD, z_BSD), (k_BD, k_BSD, pooled_BD) = encoded, targets
        with torch.autocast(z_BD.device.type, enabled=False):
            q_BD, q_BSD = F.normalize(z_BD.float(), dim=1), F.normalize(z_BSD.float(), dim=2)
            whole = info_nce(q_BD, k_BD, self.queue.keys_KD, self.temperature)
            dense = dense_info_nce(q_BSD, k_BSD, pooled_BD, self.dense_queue.keys_KD, self.temperature)
            return (1 - self.weight) * whole + self.weight * dense

    def others(self, targets: Tensors) -> Tensor:
        """As MoCo's."""
        return torch.cat([targets[0], self.queue.keys_KD])

    def update(self, student: Mapping[str, Tensor], targets: Tensors, *, ema: float) -> None:
        """Move the teacher and its dense projector, then enqueue."""
        follow(self.teacher, student, ema=ema)
        follow(self.dense_teacher, dict(self.dense.named_parameters()), ema=ema)
        self.queue.enqueue(targets[0])
        self.dense_queue.enqueue(targets[2])


class DenseProjector(nn.Module):
    """The projector of positions: [B, C, H, W] -> [B, dim, H, W] for any C up to ``c_in``; widths share a prefix.

    Normalized in the hidden layer, as ``search.supernet.projector_of`` is and for its reason.
    """

    def __init__(self, c_in: int, hidden_dim: int, dim: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(c_in, hidden_dim, 1, bias=False)
        self.norm = nn.BatchNorm2d(hidden_dim)
        self.last = nn.Conv2d(hidden_dim, dim, 1)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """See the class."""
        hidden = F.conv2d(map_BCHW, self.first.weight[:, : map_BCHW.shape[1]])
        return self.last(F.relu(self.norm(hidden)))  # type: ignore[no-any-return]


@torch.no_grad()
def dense_map(backbone: Backbone, crop_px: int) -> tuple[str, int]:
    """Name and channels of the map to learn from at crops of ``crop_px``; see the module."""
    was_training = backbone.training
    x_BCHW = next(backbone.parameters()).new_zeros(1, 3, crop_px, crop_px)
    maps = backbone.eval().features(x_BCHW)
    backbone.train(was_training)
    fine = [name for name, map_BCHW in maps.items() if map_BCHW.shape[-1] >= _LEAST_SIDE]
    name = (fine or list(maps)[:1])[-1]
    return name, maps[name].shape[1]


def positions(map_BCHW: Tensor) -> Tensor:
    """At most eight a side."""
    if map_BCHW.shape[-1] <= _LARGEST_SIDE:
        return map_BCHW
    return F.adaptive_avg_pool2d(map_BCHW, _LARGEST_SIDE)
