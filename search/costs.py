"""Costs: milliseconds, multiply-accumulates, parameters and memory of many networks at once.

A net is a sum of parts that depend on a few choices each (``Net.parts``), so the cost of N networks is N x parts
look-ups in small arrays and one sum: no Python loop over networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hardware_profiles import LatencyTable, OpKey, count_compute, part_ms
from search.nets import NETS, Net

Rows = NDArray[np.int64]
_BYTES = 4  # fp32


@dataclass(frozen=True, kw_only=True, eq=False)
class Costs:
    """Of N networks, in one array each."""

    predicted_ms: NDArray[np.float64]
    macs: NDArray[np.int64]
    params: NDArray[np.int64]
    peak_memory_bytes: NDArray[np.int64]


class CostModel:
    """The costs of every network of a net at one resolution on one device.

    Args:
        net: the family.
        table: its latency table; the resolution is the table's.

    Raises:
        MissingOp: the table lacks a block of the net.
    """

    def __init__(self, net: Net, table: LatencyTable) -> None:
        parts = net.parts(table.resolution_px)
        shapes = [tuple(len(net.space[i].options) for i in part.choices) for part in parts]
        self._overhead_ms = table.overhead_ms
        self._parts = list(zip(parts, shapes, strict=True))
        self._ms = [part_ms(table, part.ops) for part in parts]
        self._macs = [np.array([sum(_count(net.name, k)[0] for k in ops) for ops in part.ops]) for part in parts]
        self._params = [np.array([sum(_count(net.name, k)[1] for k in ops) for ops in part.ops]) for part in parts]
        self._peak = [
            np.array([max((_count(net.name, k)[2] for k in ops), default=0) for ops in part.ops]) for part in parts
        ]

    def __call__(self, rows_nl: Rows) -> Costs:
        """Option positions [N, len(space)] -> the costs of N networks."""
        at = [
            np.ravel_multi_index(tuple(rows_nl[:, list(part.choices)].T), shape) if shape else np.zeros(len(rows_nl), np.int64)
            for part, shape in self._parts
        ]
        params = sum(table[i] for table, i in zip(self._params, at, strict=True))
        activations = np.max([table[i] for table, i in zip(self._peak, at, strict=True)], axis=0)
        return Costs(
            predicted_ms=self._overhead_ms + sum(table[i] for table, i in zip(self._ms, at, strict=True)),
            macs=np.asarray(sum(table[i] for table, i in zip(self._macs, at, strict=True))),
            params=np.asarray(params),
            peak_memory_bytes=np.asarray(_BYTES * (activations + params)),
        )


@cache
def _count(net: str, key: OpKey) -> tuple[int, int, int]:
    """Multiply-accumulates, parameters and peak activations (elements) of one block, one image."""
    with torch.device("meta"):
        block = NETS[net].build_op(key)
    shape = (1, key.c_in, key.height_px, key.width_px)
    compute = count_compute(block, shape)
    return compute.macs, compute.params, _peak_elements(block, shape)


def _peak_elements(block: nn.Module, shape: tuple[int, int, int, int]) -> int:
    """Largest sum of one layer's input and output beside the block's own input, which a residual keeps alive."""
    peaks: list[int] = []

    def note(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        peaks.append(inputs[0].numel() + output.numel())

    for layer in block.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(note)
    x = torch.empty(shape, device="meta")
    with torch.no_grad():
        block.eval()(x)
    return x.numel() + max(peaks)
