"""Objective: the one interface that a training step speaks, whatever is learned and however many networks learn it.

A step takes two views of each image, asks once for ``targets``, then for every network of the step for its ``encode``
and the ``loss`` of that against the targets, and after the optimizer once for ``update``. Everything that depends on
the weights happens in ``encode``, everything that compares images in ``loss``: so encodings may be made in pieces, by
one process or by several, and gathered along dimension 0 before they are compared.

Symbols: B images, D features of a projection, N others.
"""

# ruff: noqa: N803 - a tensor's name ends in its shape.

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from search.nets import Backbone

# Each with the batch as dimension 0.
Tensors = tuple[Tensor, ...]


class Network(Protocol):
    """A network with its projector, plain or a supernet that is set to one of its networks."""

    backbone: Backbone
    projector: nn.Module

    def __call__(self, x_BCHW: Tensor, /) -> Tensor:
        """[B, 3, H, W] -> projections [B, D]."""


class Objective(nn.Module, ABC):
    """What is learned. Its parameters that require a gradient are heads, trained with the network and then dropped."""

    @abstractmethod
    def targets(self, x1_BCHW: Tensor, x2_BCHW: Tensor) -> Tensors:
        """What the networks of a step are held against, without gradient; empty where that is each other."""

    @abstractmethod
    def encode(self, network: Network, x1_BCHW: Tensor, x2_BCHW: Tensor) -> Tensors:
        """What a network makes of the views; first its projections [B, D] of the first view, of any length."""

    @abstractmethod
    def loss(self, encoded: Tensors, targets: Tensors) -> Tensor:
        """A scalar in fp32."""

    def others(self, targets: Tensors) -> Tensor | None:
        """Projections [N, D] of images, L2-normalized, to which all projections of the step may be related."""
        return None

    @abstractmethod
    def update(self, student: Mapping[str, Tensor], targets: Tensors, *, ema: float) -> None:
        """Once a step, after the optimizer.

        Args:
            student: the largest network's parameters, ``backbone.*`` and ``projector.*``.
            targets: the step's.
            ema: share of a teacher that stays.
        """


@torch.no_grad()
def follow(teacher: nn.Module, student: Mapping[str, Tensor], *, ema: float) -> None:
    """Move a teacher's parameters, by name, towards the student's; never its buffers, which mix no other networks."""
    own = dict(teacher.named_parameters())
    torch._foreach_lerp_(list(own.values()), [student[name] for name in own], 1 - ema)
