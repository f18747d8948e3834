"""Costs: milliseconds, multiply-accumulates, parameters and memory of many networks at once.

A net is a sum of parts that depend on a few choices each (``Net.parts``), so the cost of N networks is N x parts
look-ups in small arrays and one sum: no Python loop over networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hardware_profiles import LatencyTable, OpKey, count_compute, part_ms
from search.nets import NETS, Net

Rows = NDArray[np.int64]
Number = TypeVar("Number", np.int64, np.float64)
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
        self.resolution_px = table.resolution_px
        parts = net.parts(table.resolution_px)
        shapes = [[len(net.space[i].options) for i in part.choices] for part in parts]
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
        at = [_positions(rows_nl[:, list(part.choices)], shape) for part, shape in self._parts]
        params = _total(self._params, at)
        activations = np.max([table[i] for table, i in zip(self._peak, at, strict=True)], axis=0)
        return Costs(
            predicted_ms=self._overhead_ms + _total(self._ms, at),
            macs=_total(self._macs, at),
            params=params,
            peak_memory_bytes=_BYTES * (activations + params),
        )


def _positions(options_nc: Rows, shape: list[int]) -> Rows:
    """Where each of N networks stands in a part's table, given the options of the part's choices."""
    if not shape:
        return np.zeros(len(options_nc), dtype=np.int64)
    return np.asarray(np.ravel_multi_index(tuple(options_nc.T), shape), dtype=np.int64)


def _total(tables: list[NDArray[Number]], at: list[Rows]) -> NDArray[Number]:
    """Added part by part, for np.sum's order of additions depends on N, and a network has one cost."""
    total = tables[0][at[0]]
    for table, i in zip(tables[1:], at[1:], strict=True):
        total = total + table[i]
    return total


@cache
def _count(net: str, key: OpKey) -> tuple[int, int, int]:
    """Multiply-accumulates, parameters and peak activations (elements) of one block, one image."""
    with torch.device("meta"):
        block = NETS[net].build_op(key)
    shape = (1, key.c_in, key.height_px, key.width_px)
    compute = count_compute(block, shape)
    return compute.macs, compute.params, _peak_elements(block, shape)


def _peak_elements(block: nn.Module, shape: tuple[int, int, int, int]) -> int:
    """Largest sum of one layer's input and output and of the block's own input, which a residual keeps alive."""
    peaks: list[int] = []

    def note(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        peaks.append(output.numel() + x.numel() + (0 if inputs[0] is x else inputs[0].numel()))

    for layer in block.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(note)
    x = torch.empty(shape, device="meta")
    with torch.no_grad():
        block.eval()(x)
    return max(peaks)
