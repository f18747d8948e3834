"""Views: random windows of labelled pictures for training, a whole batch at a time.

A window is a crop, larger or smaller than the picture, perhaps mirrored; boxes and masks go with it. Colors are turned
by one 3x3 matrix a picture: brightness, contrast, saturation (all by factors) and hue (a rotation about grey). Every
number drawn depends on the seed, the epoch and the batch alone, so that a resumed run sees what it would have seen.

Torchvision's transforms, which see one picture at a time, do the same in more time than the network takes to learn from
it: `benchmarks/finetune_speed.py`.
"""

# ruff: noqa: N803, N806, N815 - a tensor's name ends in its shape; B: pictures, M: objects, S: side of the decoded pictures.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from search.images.read import LETTERBOX_GREY
from search.labels.arrays import Arrays, Targets
from search.labels.inputs import Input
from search.labels.samples import IGNORED
from search.types import Task

# A window's share of the picture's area, and the range of its shape, as Inception's crops of a photo of one thing.
_CLS_AREA, _CLS_RATIO = (0.35, 1.0), 4 / 3
# Of scenes: sides of a window nearer or farther than the whole, how often each is taken, and the range of its shape.
_NEAR, _FAR, _SCENE_RATIO = (0.5, 1.0), (1.0, 1.8), 1.15
_SHARES = {Task.DET: (0.5, 0.25), Task.SEG: (0.7, 0.0)}
# An object of which less is inside the window is no longer looked for, nor one of fewer pixels a side.
_LEAST_SEEN, _LEAST_PX = 0.25, 2.0
# Half the ranges of the factors, and of the hue's angle in radians; how often colors are turned at all.
_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = 0.3, 0.3, 0.4, 0.15
_COLORED = 0.8
_GREY = LETTERBOX_GREY / 255
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True, kw_only=True)
class Window:
    """Parts of B decoded pictures, in shares of their sides: centers, sizes, and whether they are mirrored."""

    center_B2: NDArray[np.float64]
    size_B2: NDArray[np.float64]
    mirrored_B: NDArray[np.bool_]

    def part(self, of: slice) -> Window:
        """Some of them."""
        return Window(center_B2=self.center_B2[of], size_B2=self.size_B2[of], mirrored_B=self.mirrored_B[of])


class Views:
    """Random views of decoded pictures.

    Args:
        arrays: the pictures; decoded a little larger than ``how``, so that windows of them are not blurred.
        how: of the network's input.
        seed: of all that is random.
        mirror: left and right mean nothing.
    """

    def __init__(self, arrays: Arrays, how: Input, *, seed: int = 0, mirror: bool = True) -> None:
        self._arrays, self._how, self._seed, self._mirror = arrays, how, seed, mirror
        rows = arrays.samples.samples
        side_2 = np.array(arrays.how.size_px[::-1])
        places = arrays.places
        self._inner_N4 = np.array(
            [[max(p.dx, 0), max(p.dy, 0), max(p.dx, 0) + p.inner_px[0], max(p.dy, 0) + p.inner_px[1]] for p in places]
        ) / np.tile(side_2, 2)
        self._boxes = [
            (one.boxes_M4 * p.scale + (p.dx, p.dy, p.dx, p.dy)) / np.tile(side_2, 2)
            for one, p in zip(rows, places, strict=True)
            if one.boxes_M4 is not None
        ]
        self._labels_N = np.array([one.label for one in rows])

    def __len__(self) -> int:
        return len(self._arrays)

    def batch(self, epoch: int, rows: Sequence[int], part: slice = slice(None)) -> tuple[Tensor, Targets]:
        """Views of the pictures ``rows[part]``, float32 [B, 3, H, W], and what is known of them.

        A part's views are those that the whole batch has there.
        """
        rng = np.random.default_rng((self._seed, epoch, rows[0]))
        window, spread_B4 = self._windows(rng, rows).part(part), _spread(rng, len(rows))[part]
        rows = rows[part]
        grid_BHW2 = _grid(window, self._how.size_px)
        pixels_BSS3 = torch.from_numpy(self._arrays.pixels_NHWC[list(rows)])
        x_B3SS = pixels_BSS3.permute(0, 3, 1, 2).float().div_(255).sub_(_GREY)
        x_B3HW = F.grid_sample(x_B3SS, grid_BHW2, mode="bilinear", align_corners=False)  # outside lies grey
        x_B3HW = _colored(x_B3HW, spread_B4).add_(_GREY).clamp_(0, 1)
        mean, std = (torch.tensor(value)[:, None, None] for value in (self._how.mean, self._how.std))
        x_B3HW = x_B3HW.sub_(mean).div_(std).contiguous(memory_format=torch.channels_last)
        labels_B = torch.from_numpy(self._labels_N[list(rows)])
        match self._arrays.samples.task:
            case Task.CLS:
                return x_B3HW, Targets(labels_N=labels_B)
            case Task.DET:
                boxes_BM4, labels_BM = self._seen(window, rows)
                return x_B3HW, Targets(labels_N=labels_B, boxes_NM4=boxes_BM4, labels_NM=labels_BM)
            case Task.SEG:
                masks_BSS = torch.from_numpy(np.stack([self._arrays.masks[i] for i in rows])).float().sub_(IGNORED)
                found = F.grid_sample(masks_BSS[:, None], grid_BHW2, mode="nearest", align_corners=False)
                return x_B3HW, Targets(labels_N=labels_B, masks_NHW=found[:, 0].add_(IGNORED).round().long())

    def _windows(self, rng: np.random.Generator, rows: Sequence[int]) -> Window:
        task, count = self._arrays.samples.task, len(rows)
        inner_B4 = self._inner_N4[list(rows)]
        if task is Task.CLS:
            ratio_B = np.exp(rng.uniform(-1, 1, count) * np.log(_CLS_RATIO))
            side_B = np.sqrt(rng.uniform(*_CLS_AREA, count))
            size_B2 = np.minimum(np.stack([side_B * np.sqrt(ratio_B), side_B / np.sqrt(ratio_B)], 1), 1.0)
        else:
            near, far = _SHARES[task]
            kind_B = rng.uniform(size=count)
            side_B = np.where(kind_B < near, rng.uniform(*_NEAR, count), 1.0)
            side_B = np.where(kind_B > 1 - far, rng.uniform(*_FAR, count), side_B)
            ratio_B = np.exp(rng.uniform(-0.5, 0.5, count) * np.log(_SCENE_RATIO))
            size_B2 = np.stack([side_B * ratio_B, side_B / ratio_B], 1)
        # Anywhere inside the picture; a window that is larger holds all of it.
        ends = inner_B4[:, :2] + size_B2 / 2, inner_B4[:, 2:] - size_B2 / 2
        center_B2 = rng.uniform(np.minimum(*ends), np.maximum(*ends))
        mirrored_B = (rng.uniform(size=count) < 0.5) & self._mirror
        return Window(center_B2=center_B2, size_B2=size_B2, mirrored_B=mirrored_B)

    def _seen(self, window: Window, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """What of the objects is inside: boxes [B, M, 4] in pixels of the input, and labels [B, M], -1 for none."""
        most = max(1, *(len(self._boxes[i]) for i in rows))
        boxes_BM4, labels_BM = np.zeros((len(rows), most, 4)), np.full((len(rows), most), -1)
        for k, i in enumerate(rows):
            labels_M = self._arrays.samples.samples[i].labels_M
            assert labels_M is not None
            boxes_BM4[k, : len(labels_M)], labels_BM[k, : len(labels_M)] = self._boxes[i], labels_M
        low_B14 = np.tile(window.center_B2 - window.size_B2 / 2, 2)[:, None]
        moved_BM4 = (boxes_BM4 - low_B14) / np.tile(window.size_B2, 2)[:, None]
        turned_BM4 = np.stack([1 - moved_BM4[..., 2], moved_BM4[..., 1], 1 - moved_BM4[..., 0], moved_BM4[..., 3]], -1)
        moved_BM4 = np.where(window.mirrored_B[:, None, None], turned_BM4, moved_BM4)
        seen_BM4 = moved_BM4.clip(0, 1)
        height, width = self._how.size_px
        found_BM4 = seen_BM4 * (width, height, width, height)
        share_BM = _area(seen_BM4) / np.maximum(_area(moved_BM4), 1e-12)
        sides_BM2 = found_BM4[..., 2:] - found_BM4[..., :2]
        lost_BM = (share_BM < _LEAST_SEEN) | (sides_BM2.min(-1) < _LEAST_PX)
        return torch.from_numpy(found_BM4).float(), torch.from_numpy(np.where(lost_BM, -1, labels_BM))


def _grid(window: Window, size_px: tuple[int, int]) -> Tensor:
    """Where each position of the input lies in the decoded picture, -1 to 1: [B, H, W, 2]."""
    sign_B = np.where(window.mirrored_B, -1.0, 1.0)
    axes = []
    for axis, (side, factor_B) in enumerate(zip(size_px[::-1], (sign_B, np.ones(len(sign_B))), strict=True)):
        at_s = (np.arange(side) + 0.5) / side - 0.5
        step_B = window.size_B2[:, axis] * factor_B
        axes.append(torch.from_numpy(2 * (window.center_B2[:, axis, None] + step_B[:, None] * at_s) - 1).float())
    x_BW, y_BH = axes
    shape = (len(x_BW), *size_px)
    return torch.stack([x_BW[:, None, :].expand(shape), y_BH[:, :, None].expand(shape)], -1)


def _spread(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """How far each picture's brightness, contrast, saturation and hue are turned, [B, 4]."""
    on_B = rng.uniform(size=count) < _COLORED
    spread_B4: NDArray[np.float64] = rng.uniform(-1, 1, (count, 4)) * (_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE)
    return spread_B4 * on_B[:, None]


def _colored(x_B3HW: Tensor, spread_B4: NDArray[np.float64]) -> Tensor:
    """Colors of pictures, counted from grey, turned by a matrix each."""
    bright_B, contrast_B, saturation_B = (1 + spread_B4[:, :3]).T[:, :, None, None]
    angle_B11 = spread_B4[:, 3, None, None]
    ones_33, luma_33 = np.ones((3, 3)), np.tile(_LUMA, (3, 1))
    cross_33 = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / np.sqrt(3)
    hue_B33 = np.cos(angle_B11) * np.eye(3) + (1 - np.cos(angle_B11)) * ones_33 / 3 + np.sin(angle_B11) * cross_33
    matrix_B33 = bright_B * contrast_B * (saturation_B * np.eye(3) + (1 - saturation_B) * luma_33) @ hue_B33
    shift_B3 = np.tile((bright_B - 1)[:, 0] * _GREY, (1, 3))
    matrix, shift = torch.from_numpy(matrix_B33).float(), torch.from_numpy(shift_B3).float()
    return torch.baddbmm(shift[:, :, None], matrix, x_B3HW.flatten(2)).view_as(x_B3HW)


def _area(boxes_BM4: NDArray[np.float64]) -> NDArray[np.float64]:
    return (boxes_BM4[..., 2] - boxes_BM4[..., 0]) * (boxes_BM4[..., 3] - boxes_BM4[..., 1])
