"""Arrays: labelled pictures as a network takes them, for training with random views and for judging as they are.

Random views are torchvision's (v2) on ``tv_tensors``, which turn boxes and masks with their picture.
"""

# ruff: noqa: N806, N815 - a tensor's name ends in its shape.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from search.images.read import LETTERBOX_GREY, open_picture, upright
from search.labels.checks import read_mask
from search.labels.inputs import Input
from search.labels.samples import IGNORED, Sample, Samples
from search.types import Task

# Of the views: how small a crop may be, and how far a picture may shrink, per side.
_CLS_SCALE, _SEG_SCALE = (0.35, 1.0), (0.5, 1.0)
_LEAST_CROP, _MOST_ZOOM_OUT = 0.5, 2.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """What is known of a batch: labels [N] of classes; boxes [M, 4] and labels [M] of each image; masks [N, H, W]."""

    labels_N: Tensor
    boxes: tuple[Tensor, ...] = ()
    labels: tuple[Tensor, ...] = ()
    masks_NHW: Tensor | None = None

    def to(self, device: torch.device) -> Targets:
        """The same on another device."""
        return Targets(
            labels_N=self.labels_N.to(device),
            boxes=tuple(one.to(device) for one in self.boxes),
            labels=tuple(one.to(device) for one in self.labels),
            masks_NHW=None if self.masks_NHW is None else self.masks_NHW.to(device),
        )


class Views(Dataset[dict[str, Any]]):
    """Random views of samples, normalized.

    Args:
        samples: labelled pictures.
        how: of the input.
    """

    def __init__(self, samples: Samples, how: Input) -> None:
        self.samples, self.how = samples, how
        self.transform = _TRANSFORMS[samples.task](how.size_px)

    def __len__(self) -> int:
        return len(self.samples.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        one = self.samples.samples[index]
        with open_picture(one.path) as opened:
            image = upright(opened)
        seen = self.transform(_as_tv(image, one))
        return {**seen, "image": self.how.normalized(seen["image"]), "label": one.label}


def collate(rows: Sequence[dict[str, Any]]) -> tuple[Tensor, Targets]:
    """Views -> a batch: float32 [N, 3, H, W] and its targets."""
    x_NCHW = torch.stack([row["image"].as_subclass(Tensor) for row in rows])
    labels_N = torch.tensor([row["label"] for row in rows])
    if "boxes" in rows[0]:
        boxes = tuple(row["boxes"].as_subclass(Tensor).float() for row in rows)
        return x_NCHW, Targets(labels_N=labels_N, boxes=boxes, labels=tuple(row["labels"] for row in rows))
    masks = torch.stack([row["mask"].as_subclass(Tensor) for row in rows]).long() if "mask" in rows[0] else None
    return x_NCHW, Targets(labels_N=labels_N, masks_NHW=masks)


def _as_tv(image: Image.Image, one: Sample) -> dict[str, Any]:
    seen: dict[str, Any] = {"image": tv_tensors.Image(torch.from_numpy(np.array(image)).permute(2, 0, 1))}
    if one.boxes_M4 is not None and one.labels_M is not None:
        canvas = (image.height, image.width)
        boxes = torch.from_numpy(one.boxes_M4)
        seen["boxes"] = tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=canvas)
        seen["labels"] = torch.from_numpy(one.labels_M)
    if one.mask is not None:
        seen["mask"] = tv_tensors.Mask(torch.from_numpy(read_mask(one.mask)))
    return seen


class _Letterbox(v2.Transform):
    """Resize until it fits, then pad: as ``to_letterbox``, of a picture with all that belongs to it."""

    def __init__(self, size_px: tuple[int, int]) -> None:
        super().__init__()
        self.size_px = size_px

    def forward(self, seen: dict[str, Any]) -> dict[str, Any]:
        height, width = seen["image"].shape[-2:]
        scale = min(self.size_px[0] / height, self.size_px[1] / width)
        inner = [max(1, round(height * scale)), max(1, round(width * scale))]
        top, left = (self.size_px[0] - inner[0]) // 2, (self.size_px[1] - inner[1]) // 2
        bottom, right = self.size_px[0] - inner[0] - top, self.size_px[1] - inner[1] - left
        fill = {tv_tensors.Image: LETTERBOX_GREY, tv_tensors.Mask: IGNORED, "others": 0}
        both = v2.Compose([v2.Resize(inner, antialias=True), v2.Pad([left, top, right, bottom], fill=fill)])
        turned: dict[str, Any] = both(seen)
        return turned


def _of_cls(size_px: tuple[int, int]) -> Any:
    return v2.Compose(
        [
            v2.RandomResizedCrop(size_px, scale=_CLS_SCALE, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(0.3, 0.3, 0.3, 0.05),
        ]
    )


def _of_det(size_px: tuple[int, int]) -> Any:
    fill = {tv_tensors.Image: LETTERBOX_GREY, "others": 0}
    return v2.Compose(
        [
            v2.RandomPhotometricDistort(p=0.5),
            v2.RandomZoomOut(fill=fill, side_range=(1.0, _MOST_ZOOM_OUT), p=0.3),
            _CropAroundBoxes(),
            v2.RandomHorizontalFlip(),
            _Letterbox(size_px),
            v2.SanitizeBoundingBoxes(min_size=2),
        ]
    )


def _of_seg(size_px: tuple[int, int]) -> Any:
    return v2.Compose(
        [
            v2.RandomPhotometricDistort(p=0.5),
            v2.RandomApply([_Crop()], p=0.7),
            v2.RandomHorizontalFlip(),
            _Letterbox(size_px),
        ]
    )


class _CropAroundBoxes(v2.Transform):
    """SSD's crop, which needs a box to be near."""

    def forward(self, seen: dict[str, Any]) -> dict[str, Any]:
        if not len(seen["labels"]):
            return seen
        turned: dict[str, Any] = v2.RandomIoUCrop(min_scale=_LEAST_CROP)(seen)
        return turned


class _Crop(v2.Transform):
    """A random part of the picture, of its own shape."""

    def forward(self, seen: dict[str, Any]) -> dict[str, Any]:
        height, width = seen["image"].shape[-2:]
        share = float(torch.empty(1).uniform_(*_SEG_SCALE))
        turned: dict[str, Any] = v2.RandomCrop([max(1, int(height * share)), max(1, int(width * share))])(seen)
        return turned


_TRANSFORMS = {Task.CLS: _of_cls, Task.DET: _of_det, Task.SEG: _of_seg}
