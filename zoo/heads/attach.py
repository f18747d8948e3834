"""Attach a head to a backbone, and take it out again in the form that is exported."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from search.nets import Backbone
from search.types import Task
from zoo.heads.classifier import Classifier
from zoo.heads.detector import Detector
from zoo.heads.segmenter import Segmenter

# ruff: noqa: N803 - a tensor's name ends in its shape.


Head = Classifier | Detector | Segmenter


def with_head(backbone: Backbone, num_classes: int, *, task: Task, resolution_px: int, frozen: bool = False) -> Head:
    """A trainable network for ``task``; the backbone given stays as it is, a copy is trained.

    Args:
        backbone: the network.
        num_classes: labels run from 0 to ``num_classes - 1``.
        task: ``cls`` gives a ``Classifier``, ``det`` a ``Detector``, ``seg`` a ``Segmenter``.
        resolution_px: side of the input, in pixels.
        frozen: train the head only.

    Returns:
        The network, in training mode.

    Raises:
        ValueError: no class.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}; a head needs at least 1")
    own = copy.deepcopy(backbone)
    head: Head
    match task:
        case Task.CLS:
            head = Classifier(own, num_classes, frozen=frozen)
        case Task.DET:
            head = Detector(own, num_classes, resolution_px, frozen=frozen)
        case Task.SEG:
            head = Segmenter(own, num_classes, resolution_px, frozen=frozen)
    parameter = next(backbone.parameters())
    return head.to(parameter.device, parameter.dtype).train()


class _Outputs(nn.Module):
    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, x_NCHW: Tensor) -> dict[str, Tensor]:
        return self.head.outputs(x_NCHW)


def deployable(head: Head) -> nn.Module:
    """The module to export, in eval mode: [N, 3, R, R] -> outputs by name.

    ``logits`` [N, K] of a classifier; ``boxes`` [N, A, 4] and ``scores`` [N, A, K] of a detector, before overlapping
    boxes are dropped; ``masks`` [N, K, R, R], logits, of a segmenter.
    """
    return _Outputs(head).eval()
