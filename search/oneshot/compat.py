"""Work-arounds for NNI 3.0, each with its symptom; those for Lightning are in ``search.machines``.

tests/search/test_compat.py holds a test for each, which fails when it is no longer needed.

- ``FixedConv2d``, ``FixedLinear``: ``MixedConv2d(bias=False).freeze`` returns a state dict with ``bias: None``, which
  ``load_state_dict`` refuses (``Unexpected key(s): "bias"``); so does ``MixedLinear``.
- NNI hangs for ever on filelock >= 3.12: pinned in pyproject.toml.
- NNI warns at its first import of two classes in newer torch's ``torch.nn`` that are no modules, and of an installation
  that is read-only: the import below.
"""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor

from search.nets.layers import conv2d

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", ".*is found to be not a nn.Module", RuntimeWarning)
    warnings.filterwarnings("ignore", "Cannot write to .*_layers.py")
    import nni.nas.nn.pytorch
    from nni.nas.oneshot.pytorch.supermodule.operation import MixedConv2d, MixedLinear


class FixedConv2d(MixedConv2d):
    """NNI's weight-sharing convolution without the ``bias: None`` fault, through our fast depthwise gradient."""

    bound_type = nni.nas.nn.pytorch.MutableConv2d

    def freeze_weight(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """The sliced tensors, without those that do not exist."""
        return _existing(super().freeze_weight(*args, **kwargs))

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
        """One sampled path: prefix channels, center of the kernel."""
        weight = self.weight[:out_channels, : in_channels // groups]
        side = self.kernel_size[0]
        if kernel_size != side:
            start = (side - kernel_size) // 2
            weight = weight[:, :, start : start + kernel_size, start : start + kernel_size]
        return conv2d(inputs, weight, stride, padding, groups)


class FixedLinear(MixedLinear):
    """NNI's weight-sharing linear layer without the ``bias: None`` fault."""

    bound_type = nni.nas.nn.pytorch.MutableLinear

    def freeze_weight(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """The sliced tensors, without those that do not exist."""
        return _existing(super().freeze_weight(*args, **kwargs))


def _existing(tensors: dict[str, Tensor | None]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}
