"""Segmenter: torchvision's LR-ASPP head on two feature maps (Howard et al., ICCV 2019, section 6.4)."""

# ruff: noqa: N803 - a tensor's name ends in its shape.

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.segmentation.lraspp import LRASPPHead

from search.nets import Backbone
from zoo.heads.classifier import Trunk
from zoo.heads.features import feature_info

_CHANNELS = 128  # LR-ASPP's (Howard et al., ICCV 2019, section 6.4)
# The finer of the two maps has a quarter of the coarsest one's stride.
_LEVELS_FINER = 2


class Segmenter(nn.Module):
    """[N, 3, R, R] -> ``{"out": logits [N, num_classes, R, R]}``, as torchvision's segmentation models.

    Args:
        backbone: becomes part of this module.
        num_classes: labels run from 0 to ``num_classes - 1``.
        resolution_px: side of the input, in pixels.
        frozen: train everything but the backbone.
    """

    def __init__(self, backbone: Backbone, num_classes: int, resolution_px: int, *, frozen: bool = False) -> None:
        super().__init__()
        levels = feature_info(backbone, resolution_px).levels
        high, low = levels[-1], levels[max(0, len(levels) - 1 - _LEVELS_FINER)]
        self.high, self.low = high.name, low.name
        self.trunk = Trunk(backbone, frozen=frozen)
        self.classifier = LRASPPHead(low.channels, high.channels, num_classes, _CHANNELS)

    def forward(self, x_NCHW: Tensor) -> dict[str, Tensor]:
        """See the class."""
        maps = self.trunk(x_NCHW)
        logits = self.classifier({"low": maps[self.low], "high": maps[self.high]})
        return {"out": F.interpolate(logits, size=x_NCHW.shape[-2:], mode="bilinear", align_corners=False)}

    def outputs(self, x_NCHW: Tensor) -> dict[str, Tensor]:
        """What is exported: ``masks``, the logits."""
        return {"masks": self(x_NCHW)["out"]}
