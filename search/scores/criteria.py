"""Criteria: label-free scores of a network, all of one look at the user's images; higher is better.

Most compare a network with the largest one (the teacher) on the same images: 1 is a perfect copy, 0 a collapsed
network. The others judge the network alone. Which of them order networks of equal milliseconds as labels do is measured
by ``benchmarks/score_quality.py``; ``search.scores.SCORES`` names the one that a search takes for its task.

Symbols: N images, V views of each, D and E features, P projected features, K clusters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search.nets import Backbone
from search.scores.maps import gram_rows, layout, layout_agreement, palette, palette_agreement, row_agreement

# ruff: noqa: N803, N806, N815 - a tensor's name ends in its shape.

_NEIGHBORS = 10  # of each image: as many as a small class has among a few hundred images
_CLUSTERS = 16  # more than most users' classes, few enough that each holds a dozen of the images
_ROUNDS = 20  # of k-means, which has long settled
_TEMPERATURE = 0.2  # MoCo v2's, the same for every network whatever it was trained with
_WITHIN = 1e-4  # LiDAR's delta (Thilak et al., ICLR 2024, section 3): the scatter within stays invertible
_SIDE = 4  # positions a side of a stage's map, whose features all count in its alignment
# Of the log of parameters in a sized criterion. Agreement and size err in different places: from half to twice of this
# share their sum orders networks of equal milliseconds better than either (benchmarks/score_quality.py).
_SIZE_SHARE = 0.1
_NOTHING = 1e-10  # what rounding leaves of a constant after centering, as a share of its energy


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """What a network makes of the images.

    Args:
        pooled_ND: their embeddings.
        projected_NP: the same, projected.
        levels: their feature maps, [N, C, H, W] each, fine to coarse.
        parameters: of the backbone.
        views_VNP: projections of random views of them; None where nobody asked for views.
    """

    pooled_ND: Tensor
    projected_NP: Tensor
    levels: tuple[Tensor, ...]
    parameters: int
    views_VNP: Tensor | None = None

    @property
    def finite(self) -> bool:
        """Whether all features are numbers."""
        return all(bool(x.isfinite().all()) for x in (self.pooled_ND, self.projected_NP, *self.levels))


@torch.no_grad()
def look(backbone: Backbone, projector: nn.Module, batch_NCHW: Tensor, views: Sequence[Tensor] = ()) -> Look:
    """One pass over the images with the batch's own normalization statistics: recalibrating on it, in one go.

    Args:
        backbone: left in eval mode.
        projector: of its embeddings; left in eval mode.
        batch_NCHW: normalized images.
        views: of the same images, normalized, each [N, 3, H, W].
    """
    backbone.train()
    projector.train()
    levels = tuple(backbone.features(batch_NCHW).values())
    pooled_ND = backbone.embed(levels[-1])
    projected_NP = projector(pooled_ND)
    seen = [projector(backbone(view_NCHW)) for view_NCHW in views]
    backbone.eval()
    projector.eval()
    return Look(
        pooled_ND=pooled_ND,
        projected_NP=projected_NP,
        levels=levels,
        parameters=sum(parameter.numel() for parameter in backbone.parameters()),
        views_VNP=torch.stack(seen) if seen else None,
    )


def agreement(student_NP: Tensor, teacher_NP: Tensor) -> float:
    """Mean cosine in [-1, 1] between rows of the same image; 1 for a perfect copy, 0 for unrelated features.

    The criterion of DATA (CVPR 2022, section 4), but centered over the images first, so that a constant map scores 0
    however close it is to the mean.
    """
    # In double, what is left of a constant map after centering is far below eps, and counts as nothing.
    unit = (F.normalize(z.double(), dim=1) for z in (student_NP, teacher_NP))
    s, t = (z - z.mean(0) for z in unit)
    return float(F.cosine_similarity(s, t, dim=1, eps=1e-6).mean())


def kernel_alignment(x_ND: Tensor, y_NE: Tensor) -> float:
    """Linear centered kernel alignment in [0, 1]; 0 where either is constant (Kornblith et al., ICML 2019)."""
    k_NN, l_NN = (x @ x.T for x in (_centered(x_ND), _centered(y_NE)))
    energy = float(k_NN.norm() * l_NN.norm())
    return float((k_NN * l_NN).sum()) / energy if energy > 0 else 0.0


def stage_alignment(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> float:
    """Mean over levels of the alignment of whole maps, pooled to at most 4x4 positions, in [0, 1]."""
    found = []
    for pair in zip(student, teacher, strict=True):
        height, width = (min(side, _SIDE) for side in pair[0].shape[2:])
        found.append(kernel_alignment(*(F.adaptive_avg_pool2d(level, (height, width)).flatten(1) for level in pair)))
    return sum(found) / len(found)


def shared_neighbors(x_ND: Tensor, y_NE: Tensor) -> float:
    """Share of each image's nearest images that both networks name, in [0, 1]; 0 where either is constant."""
    if not (_centered(x_ND).any() and _centered(y_NE).any()):
        return 0.0
    x_NK, y_NK = _neighbors(x_ND), _neighbors(y_NE)
    return float((x_NK[:, :, None] == y_NK[:, None, :]).any(2).double().mean())


def pseudo_labels(student_ND: Tensor, teacher_NE: Tensor, *, seed: int = 0) -> float:
    """How well the student tells the clusters of the teacher (k-means), by its own means of them; in [0, 1]."""
    label_N = _clusters(F.normalize(_centered(teacher_NE), dim=1), seed=seed)
    unit_ND = F.normalize(_centered(student_ND), dim=1)
    return float((_nearest(unit_ND, _means(unit_ND, label_N)) == label_N).double().mean())


def held_out_contrast(views_VNP: Tensor | None) -> float:
    """Minus InfoNCE of two views of images that trained nothing; at most 0.

    Raises:
        ValueError: there are fewer than two views.
    """
    a_NP, b_NP = (F.normalize(view.double(), dim=1) for view in _asked(views_VNP)[:2])
    logits_NN = a_NP @ b_NP.T / _TEMPERATURE
    target_N = torch.arange(len(a_NP), device=a_NP.device)
    return -float((F.cross_entropy(logits_NN, target_N) + F.cross_entropy(logits_NN.T, target_N)) / 2)


def effective_rank(x_ND: Tensor) -> float:
    """RankMe (Garrido et al., ICML 2023): exp of the entropy of the singular values, as a share of the most possible.

    Returns:
        In [0, 1]; 0 where the features are constant.
    """
    return _spread(torch.linalg.svdvals(_centered(x_ND)))


def discriminant_rank(views_VNP: Tensor | None) -> float:
    """LiDAR (Thilak et al., ICLR 2024): the effective rank of what tells images apart beyond their views, in [0, 1].

    Raises:
        ValueError: there are fewer than two views.
    """
    z_VNP = _asked(views_VNP).double()
    mean_NP = z_VNP.mean(0)
    within = (z_VNP - mean_NP).flatten(0, 1)
    scatter_PP = within.T @ within / (len(within) - 1)
    value_P, axes_PP = torch.linalg.eigh(scatter_PP)
    whitened_NP = _centered(mean_NP) @ axes_PP * (value_P.clamp(min=0) + _WITHIN).rsqrt()
    return _spread(torch.linalg.svdvals(whitened_NP).square())


def sized(agreement: float, parameters: int, largest: int) -> float:
    """An agreement with the largest network, plus a share of the log of how large the network is beside it."""
    return agreement + _SIZE_SHARE * math.log(parameters / largest)


Criterion = Callable[[Look, Look], float]
TOGETHER = ("projected cosine", "pooled CKA", "stages CKA")
"""What the criterion ``together`` is the mean of: three views of the same agreement, each 1 for a copy."""
CRITERIA: Mapping[str, Criterion] = MappingProxyType(
    {
        "projected cosine": lambda s, t: agreement(s.projected_NP, t.projected_NP),
        "projected CKA": lambda s, t: kernel_alignment(s.projected_NP, t.projected_NP),
        "pooled CKA": lambda s, t: kernel_alignment(s.pooled_ND, t.pooled_ND),
        "stages CKA": lambda s, t: stage_alignment(s.levels, t.levels),
        "together": lambda s, t: sum(CRITERIA[name](s, t) for name in TOGETHER) / len(TOGETHER),
        "neighbors": lambda s, t: shared_neighbors(s.pooled_ND, t.pooled_ND),
        "pseudo-labels": lambda s, t: pseudo_labels(s.pooled_ND, t.pooled_ND),
        "gram rows": lambda s, t: row_agreement(gram_rows(s.levels[-2]), gram_rows(t.levels[-2])),
        "layouts": lambda s, t: layout_agreement(*([layout(m) for m in seen.levels if _is_map(m)] for seen in (s, t))),
        "palettes": lambda s, t: palette_agreement(*([palette(m) for m in seen.levels] for seen in (s, t))),
        "held-out contrast": lambda s, _: held_out_contrast(s.views_VNP),
        "RankMe": lambda s, _: effective_rank(s.pooled_ND),
        "LiDAR": lambda s, _: discriminant_rank(s.views_VNP),
        "cosine and size": lambda s, t: sized(CRITERIA["projected cosine"](s, t), s.parameters, t.parameters),
        "layouts and size": lambda s, t: sized(CRITERIA["layouts"](s, t), s.parameters, t.parameters),
        "palettes and size": lambda s, t: sized(CRITERIA["palettes"](s, t), s.parameters, t.parameters),
    }
)
"""Each criterion of what the network and what the largest network make of the same images, by name."""
OF_VIEWS = frozenset({"held-out contrast", "LiDAR"})
"""Those that need views."""
SIZED = {"cosine and size": "projected cosine", "layouts and size": "layouts", "palettes and size": "palettes"}
"""Those that add the size of the network, and what they add it to."""


def _is_map(level_NCHW: Tensor) -> bool:
    return level_NCHW[0, 0].numel() > 1


def _asked(views_VNP: Tensor | None) -> Tensor:
    if views_VNP is None or len(views_VNP) < 2:
        raise ValueError("this criterion compares views of an image; look at two or more")
    return views_VNP


def _centered(x_ND: Tensor) -> Tensor:
    """In double, minus the mean over images; exactly 0 where only rounding is left of a constant."""
    x = x_ND.double()
    y = x - x.mean(0)
    return y if bool(y.square().sum() > _NOTHING * x.square().sum()) else torch.zeros_like(y)


def _neighbors(x_ND: Tensor) -> Tensor:
    """Each image's nearest others by cosine: [N, at most 10]."""
    unit_ND = F.normalize(_centered(x_ND), dim=1)
    return (unit_ND @ unit_ND.T).fill_diagonal_(-2).topk(min(_NEIGHBORS, len(unit_ND) - 1), dim=1).indices


def _clusters(unit_ND: Tensor, *, seed: int) -> Tensor:
    """Spherical k-means from ``seed``: a label for each row."""
    first = torch.randperm(len(unit_ND), generator=torch.Generator().manual_seed(seed))[:_CLUSTERS]
    label_N = _nearest(unit_ND, unit_ND[first.to(unit_ND.device)])
    for _ in range(_ROUNDS):
        label_N = _nearest(unit_ND, _means(unit_ND, label_N))
    return label_N


def _means(unit_ND: Tensor, label_N: Tensor) -> Tensor:
    """The direction of each cluster: [K, D]."""
    return F.normalize(F.one_hot(label_N, _CLUSTERS).to(unit_ND.dtype).T @ unit_ND, dim=1)


def _nearest(unit_ND: Tensor, center_KD: Tensor) -> Tensor:
    return (unit_ND @ center_KD.T).argmax(1)


def _spread(size: Tensor) -> float:
    """Exp of the entropy of sizes at least 0, as a share of their number; 0 where all are 0."""
    total = size.sum()
    if not bool(total > 0):
        return 0.0
    p = size / total
    return float(torch.exp(-torch.xlogy(p, p).sum())) / len(size)
