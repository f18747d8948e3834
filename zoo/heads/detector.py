"""Detector: torchvision's RetinaNet on a feature pyramid, with anchors for small images.

RetinaNet: Lin et al., ICCV 2017 (arXiv:1708.02002); the pyramid: Lin et al., CVPR 2017 (arXiv:1612.03144).
"""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from search.labels.checks import box_fault
from search.nets import Backbone
from zoo.errors import BadRequest
from zoo.heads.classifier import Trunk
from zoo.heads.features import FeatureInfo, Level, feature_info

_CHANNELS = 64  # a quarter of RetinaNet's 256, for backbones a tenth as large
_FINEST_STRIDE = 4  # the finest map of the photo net
_RATIOS = (0.5, 1.0, 2.0)  # RetinaNet's (Lin et al., ICCV 2017, section 4)
# Anchors of RetinaNet start at 4 strides; objects in images of 32-160 px are smaller.
_STRIDES_A_SIDE = 2


class Pyramid(nn.Module):
    """[N, 3, R, R] -> maps of 64 channels: the backbone's from stride 4 on, and two coarser ones.

    Args:
        backbone: becomes part of this module.
        info: of its maps.
        frozen: train everything but the backbone.
    """

    out_channels = _CHANNELS

    def __init__(self, backbone: Backbone, info: FeatureInfo, *, frozen: bool) -> None:
        super().__init__()
        self.trunk = Trunk(backbone, frozen=frozen)
        levels = _coarse(info)
        self.names = [level.name for level in levels]
        coarsest = levels[-1].stride
        self.strides = (*(level.stride for level in levels), 2 * coarsest, 4 * coarsest)
        more = LastLevelP6P7(_CHANNELS, _CHANNELS)
        self.fpn = FeaturePyramidNetwork([level.channels for level in levels], _CHANNELS, extra_blocks=more)

    def forward(self, x_NCHW: Tensor) -> dict[str, Tensor]:
        """See the class."""
        maps = self.trunk(x_NCHW)
        return self.fpn({name: maps[name] for name in self.names})  # type: ignore[no-any-return]


class Detector(RetinaNet):  # type: ignore[misc]  # torchvision has no types
    """A torchvision detector: losses for (images, targets) in training mode, else a dict for each image.

    Images are what ``Model.preprocess`` makes, [N, 3, R, R] or a list of [3, R, R]; targets and results are
    torchvision's: ``boxes`` [n, 4] (x0, y0, x1, y1 in pixels of the input), ``labels`` [n] and ``scores`` [n].

    Args:
        backbone: becomes part of this module.
        num_classes: labels run from 0 to ``num_classes - 1``; there is none for the background.
        resolution_px: side of the input, in pixels.
        frozen: train everything but the backbone.
    """

    def __init__(self, backbone: Backbone, num_classes: int, resolution_px: int, *, frozen: bool = False) -> None:
        pyramid = Pyramid(backbone, feature_info(backbone, resolution_px), frozen=frozen)
        sizes = tuple(
            tuple(round(_STRIDES_A_SIDE * stride * 2 ** (i / 3), 2) for i in range(3)) for stride in pyramid.strides
        )
        super().__init__(
            pyramid,
            num_classes,
            min_size=resolution_px,
            max_size=resolution_px,
            image_mean=[0.0, 0.0, 0.0],  # the input is normalized already
            image_std=[1.0, 1.0, 1.0],
            size_divisible=1,
            anchor_generator=AnchorGenerator(sizes, (_RATIOS,) * len(sizes)),
            detections_per_img=100,
        )

    def forward(
        self, images: list[Tensor] | Tensor, targets: list[dict[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses in training mode, else what is found; see the class.

        Raises:
            BadRequest: a target that no image and no class of this detector has.
        """
        if targets is not None and self.training:
            for image, target in zip(images, targets, strict=True):
                _check_target(target, self.head.classification_head.num_classes, image.shape[-2:])
        return super().forward(images, targets)  # type: ignore[no-any-return]

    def outputs(self, x_NCHW: Tensor) -> dict[str, Tensor]:
        """What is exported, before overlapping boxes are dropped: ``boxes`` [N, A, 4], ``scores`` [N, A, K], 0 to 1."""
        height, width = x_NCHW.shape[2:]
        maps = list(self.backbone(x_NCHW).values())
        found = self.head(maps)
        (anchors_A4,) = self.anchor_generator(ImageList(x_NCHW[:1], [(height, width)]), maps)
        boxes_NA4 = _decoded(found["bbox_regression"], anchors_A4, self.box_coder.bbox_xform_clip)
        limit_4 = torch.tensor([width, height, width, height], dtype=x_NCHW.dtype, device=x_NCHW.device)
        boxes_NA4 = torch.minimum(boxes_NA4.clamp(min=0), limit_4)
        return {"boxes": boxes_NA4, "scores": found["cls_logits"].sigmoid()}


def _check_target(target: dict[str, Tensor], classes: int, size_px: tuple[int, int]) -> None:
    """Refuse what torchvision would train on without a word, or fail on without saying why."""
    boxes, labels = (target[key].detach().cpu().numpy() for key in ("boxes", "labels"))
    if boxes.ndim != 2 or boxes.shape[1:] != (4,) or labels.shape != (len(boxes),):
        raise BadRequest(f"boxes are {list(boxes.shape)} and labels {list(labels.shape)}; they must be [n, 4] and [n]")
    if wrong := [int(label) for label in labels if not 0 <= label < classes]:
        raise BadRequest(f"label {wrong[0]} is none of the {classes} classes, which are counted from 0")
    height, width = size_px
    for box in boxes:
        if (fault := box_fault(box.astype(np.float64), (width, height))) is not None:
            raise BadRequest(f"{fault}; boxes are (x0, y0, x1, y1) in pixels of the input, {width}x{height}")


def _coarse(info: FeatureInfo) -> list[Level]:
    """The maps from stride 4 on, or the coarsest one alone."""
    return [level for level in info.levels if level.stride >= _FINEST_STRIDE] or [info.levels[-1]]


def _decoded(deltas_NA4: Tensor, anchors_A4: Tensor, most: float) -> Tensor:
    """Torchvision's box code, whole batch at once: shifts in anchor sizes, logarithms of size ratios."""
    size_A2 = anchors_A4[:, 2:] - anchors_A4[:, :2]
    center_NA2 = anchors_A4[:, :2] + 0.5 * size_A2 + deltas_NA4[..., :2] * size_A2
    half_NA2 = 0.5 * size_A2 * deltas_NA4[..., 2:].clamp(max=most).exp()
    return torch.cat([center_NA2 - half_NA2, center_NA2 + half_NA2], dim=-1)
