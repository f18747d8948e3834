"""Model: a packaged network, ready to use."""

# ruff: noqa: N803 - a tensor's name ends in its shape.

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from search.nets import Backbone
from search.types import Architecture, Task
from zoo.feature_info import FeatureInfo, feature_info
from zoo.pictures import Picture, pixels_of
from zoo.pretrained import Pretrained
from zoo.types import ModelCard

if TYPE_CHECKING:
    from zoo.heads import Classifier, Detector, Segmenter

_HEADS = {Task.CLS: "a classifier", Task.DET: "a torchvision detector", Task.SEG: "a segmenter"}

Pictures = Picture | Tensor | Iterable[Picture]


class Model(Pretrained, nn.Module):
    """A network with its weights, its preprocessing and its card.

    Args:
        backbone: the plain network, in eval mode.
        card: what is known of it.
        folder: the package it came from.

    Example:
        >>> model = zoo.get("data-mocov2-cls-1ms")  # doctest: +SKIP
        >>> model(model.preprocess("photo.jpg")).shape  # doctest: +SKIP
        torch.Size([1, 1504])
    """

    def __init__(self, backbone: Backbone, card: ModelCard, folder: Path) -> None:
        super().__init__()
        self.backbone = backbone
        self.card = card
        self.folder = folder
        self.eval()

    @property
    def architecture(self) -> Architecture:
        """The point of the net's space that this network is."""
        return self.card.architecture

    @property
    def resolution_px(self) -> int:
        """Side of the input, in pixels."""
        return self.card.preprocess.size_px[0]

    @property
    def feature_info(self) -> FeatureInfo:
        """Names, channels and strides of what ``features`` returns."""
        return feature_info(self.backbone, self.resolution_px)

    @property
    def onnx_path(self) -> Path:
        """The fp32 ONNX artefact."""
        return self.folder / self.card.reports[0].path

    def preprocess(self, pictures: Pictures) -> Tensor:
        """Pictures -> the network's input, float32 [N, 3, R, R].

        Args:
            pictures: one or several of: a path, a PIL image, a uint8 array [H, W, 3] or [H, W]; or one uint8 tensor
                [3, H, W] or [N, 3, H, W].

        Raises:
            UnreadableImage: a file that cannot be decoded.
            ValueError: an array or a tensor of another type or shape.
        """
        how = self.card.preprocess
        x_NCHW = torch.stack(  # noqa: N806
            [pixels_of(picture, how.size_px[0]) for picture in _each(pictures)]
        ).float()
        mean, std = (torch.tensor(value)[:, None, None] for value in (how.mean, how.std))
        return (x_NCHW * how.scale - mean) / std

    def features(self, x_NCHW: Tensor) -> dict[str, Tensor]:
        """Input [N, 3, R, R] -> feature maps by name; ``p3`` has stride ``2**3``; finest first."""
        return self.backbone.features(x_NCHW)

    def embed(self, x_NCHW: Tensor) -> Tensor:
        """Input [N, 3, R, R] -> pooled embeddings [N, D]."""
        return self.backbone(x_NCHW)  # type: ignore[no-any-return]

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """The same as ``embed``."""
        return self.embed(x_NCHW)

    def with_head(
        self, num_classes: int, *, task: Task | str | None = None, frozen: bool = False
    ) -> Classifier | Detector | Segmenter:
        """A trainable network on a copy of this one's backbone: a classifier, a detector or a segmenter.

        Args:
            num_classes: labels run from 0 to ``num_classes - 1``.
            task: ``cls``, ``det`` or ``seg``; None takes the card's.
            frozen: train the head only.

        Returns:
            The network, in training mode. It takes what ``preprocess`` returns.

        Example:
            >>> detector = zoo.get("data-mocov2-det-3ms").with_head(3)  # doctest: +SKIP
            >>> losses = detector(x_NCHW, targets)  # as torchvision's  # doctest: +SKIP
        """
        from zoo.heads import with_head

        task = self.card.task if task is None else Task(task)
        return with_head(self.backbone, num_classes, task=task, resolution_px=self.resolution_px, frozen=frozen)

    def __repr__(self) -> str:
        """What it is, and how to use it."""
        size, report = self.card.preprocess.size_px[0], self.card.reports[0]
        measured = f"{report.measured.median_ms:.3g} ms measured" if report.measured else "not measured"
        params = sum(p.numel() for p in self.backbone.parameters())
        return (
            f"Model {self.card.name}\n"
            f"  {params / 1e6:.2f} M parameters, {size}x{size} px, {measured} on {report.device}\n"
            "  x = model.preprocess('photo.jpg')   # paths, PIL images, uint8 arrays or tensors\n"
            f"  model(x)                            # embeddings [N, {self.backbone.embedding_dim}]\n"
            "  model.features(x)                   # maps by stride: p0, p1, ...\n"
            f"  model.with_head(num_classes)        # to train: {_HEADS[self.card.task]}\n"
            f"  model.onnx_path                     # {self.onnx_path}\n"
            "  model.card                          # provenance, predicted and measured times, comparison"
        )


def _each(pictures: Pictures) -> list[Picture]:
    if isinstance(pictures, Tensor):
        if pictures.dtype != torch.uint8 or pictures.ndim not in (3, 4) or pictures.shape[-3] != 3:
            raise ValueError(
                f"a tensor of {pictures.dtype} {list(pictures.shape)} is not uint8 [3, H, W] or [N, 3, H, W]"
            )
        array: NDArray[Any] = pictures.reshape(-1, *pictures.shape[-3:]).permute(0, 2, 3, 1).cpu().numpy()
        return list(array)
    if isinstance(pictures, (str, Path, Image.Image, np.ndarray)):
        return [pictures]
    return list(pictures)
