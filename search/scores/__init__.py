"""Scores: how well a network's features agree with the largest network's on the same images; higher is better.

What is compared is what the task's head will read: ``cls`` the projected embeddings (embeddings), ``det`` and ``seg``
the feature maps of all levels (maps). 1 is a perfect copy, 0 a collapsed network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor, nn

from search.nets import Backbone
from search.scores.embeddings import agreement, projections
from search.scores.maps import layout_agreement, layouts, palette_agreement, palettes
from search.types import Task

Look = tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class Score:
    """A task's criterion.

    Args:
        look: backbone in eval mode, projector, images [B, 3, H, W] -> what is compared, with the batch's own
            normalization statistics; done once a network.
        compare: what ``look`` saw of the network that is scored, then of the largest -> the score.
    """

    look: Callable[[Backbone, nn.Module, Tensor], Look]
    compare: Callable[[Look, Look], float]


SCORES: Mapping[Task, Score] = MappingProxyType(
    {
        Task.CLS: Score(
            look=lambda backbone, projector, batch: (projections(backbone, projector, batch),),
            compare=lambda student, teacher: agreement(student[0], teacher[0]),
        ),
        Task.DET: Score(look=lambda backbone, _, batch: layouts(backbone, batch), compare=layout_agreement),
        Task.SEG: Score(look=lambda backbone, _, batch: palettes(backbone, batch), compare=palette_agreement),
    }
)

__all__ = [
    "SCORES",
    "Score",
    "agreement",
    "layout_agreement",
    "layouts",
    "palette_agreement",
    "palettes",
    "projections",
]
