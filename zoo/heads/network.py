"""Network: a backbone with its trained head, whole, as it is trained, packaged and exported."""

# ruff: noqa: N803 - a tensor's name ends in its shape.

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from search.nets import Backbone
from search.nets.heads import OUTPUTS, make_head
from search.types import Task
from zoo.heads.features import feature_info
from zoo.types import HeadCard

KINDS: dict[Task, Literal["linear", "fcos", "lraspp"]] = {Task.CLS: "linear", Task.DET: "fcos", Task.SEG: "lraspp"}


class Network(nn.Module):
    """[N, 3, H, W] -> outputs by name, see ``forward``; ``backbone`` and ``head`` are its two parts.

    Args:
        backbone: becomes part of this module.
        head: reads the embedding of a classifier, else the maps.
        task: of the head.
    """

    def __init__(self, backbone: Backbone, head: nn.Module, task: Task) -> None:
        super().__init__()
        self.backbone, self.head, self.task = backbone, head, task

    def raw(self, x_NCHW: Tensor) -> dict[str, Tensor]:
        """All that the head says, what only training needs included."""
        if self.task is Task.CLS:
            return {"logits": self.head(self.backbone(x_NCHW))}
        return self.head(self.backbone.features(x_NCHW))  # type: ignore[no-any-return]

    def forward(self, x_NCHW: Tensor) -> dict[str, Tensor]:
        """What is exported.

        ``logits`` [N, K] of a classifier; ``boxes`` [N, A, 4] and ``scores`` [N, A, K] of a detector, before
        overlapping boxes are dropped; ``masks`` [N, K, h, w], logits at a stride of the input, of a segmenter.
        """
        found = self.raw(x_NCHW)
        if self.task is Task.CLS:
            return found
        return {name: found[of] for name, of in OUTPUTS[self.task].items()}


def make_network(backbone: Backbone, head: HeadCard, resolution_px: int, *, seed: int = 0) -> Network:
    """``backbone`` with a head of fresh weights.

    Raises:
        BadHead: the backbone has too few maps.
    """
    task = Task(head.task)  # a word, where it comes from a file
    if task is Task.CLS:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made: nn.Module = nn.Linear(backbone.embedding_dim, len(head.classes))
    else:
        channels = {level.name: level.channels for level in feature_info(backbone, resolution_px).levels}
        made = make_head(task, channels, len(head.classes), seed=seed)
    return Network(backbone, made, task)


class AllOutputs(nn.Module):
    """[N, 3, R, R] -> ``p0``, ``p1``, ... (the maps at strides 2**i) and ``embedding`` [N, D]."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.train(backbone.training)

    def forward(self, x_NCHW: Tensor) -> dict[str, Tensor]:
        """See the class."""
        maps = self.backbone.features(x_NCHW)
        return {**maps, "embedding": self.backbone.embed(list(maps.values())[-1])}


def deployed(backbone: Backbone, task: Task) -> nn.Module:
    """The module to export for ``task``."""
    return backbone if task is Task.CLS else AllOutputs(backbone)
