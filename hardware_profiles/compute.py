"""Compute: multiply-accumulates and parameters of a block, counted by torch, whatever the block is made of."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True, kw_only=True)
class Compute:
    """The same on any device: multiply-accumulates of convolutions and matrix products, and parameters."""

    macs: int
    params: int


def count_compute(module: nn.Module, input_nchw: tuple[int, int, int, int]) -> Compute:
    """Count on shapes alone: no memory is taken and nothing is computed.

    Args:
        module: takes one tensor; stays as it is.
        input_nchw: batch, channels, height and width in pixels; the multiply-accumulates are those of the whole batch.
    """
    shapes = copy.deepcopy(module).to("meta").eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        shapes(torch.empty(input_nchw, device="meta"))
    params = sum(parameter.numel() for parameter in module.parameters())
    return Compute(macs=int(counter.get_total_flops()) // 2, params=params)
