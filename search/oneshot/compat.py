"""Work-arounds for NNI 3.0, each with its symptom; tests/search/test_compat.py fails when NNI no longer needs one.

- ``FixedConv2d``: ``MixedConv2d(bias=False).freeze`` returns a state dict with ``bias: None``, which ``load_state_dict``
  refuses (``Unexpected key(s): "bias"``).
- NNI hangs for ever on filelock >= 3.12: pinned in pyproject.toml.
- ``freeze`` aliases the supernet's tensors: nothing here calls it; ``search.supernet`` slices copies.
"""

from __future__ import annotations

from typing import Any

import torch
from nni.nas.nn.pytorch import MutableConv2d
from nni.nas.oneshot.pytorch.supermodule.operation import MixedConv2d
from torch import Tensor

from search.nets.depthwise import conv2d


class FixedConv2d(MixedConv2d):
    """NNI's weight-sharing convolution without the ``bias: None`` fault, through our fast depthwise gradient."""

    bound_type = MutableConv2d

    def freeze_weight(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """The sliced tensors, without those that do not exist."""
        sliced: dict[str, Tensor | None] = super().freeze_weight(*args, **kwargs)
        return {name: tensor for name, tensor in sliced.items() if tensor is not None}

    def forward_with_args(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        padding: int,
        dilation: int,
        groups: int,
        inputs: Tensor,
    ) -> Tensor:
        """One sampled path: prefix channels, center of the kernel; depthwise stays in fp32 (no fast bf16 backward)."""
        weight = self.weight[:out_channels, : in_channels // groups]
        side = self.kernel_size[0]
        if kernel_size != side:
            start = (side - kernel_size) // 2
            weight = weight[:, :, start : start + kernel_size, start : start + kernel_size]
        if groups > 1 and inputs.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return conv2d(inputs.float(), weight, stride, padding, groups)
        return conv2d(inputs, weight, stride, padding, groups)
