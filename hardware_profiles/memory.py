"""Memory: the most that is alive at once while a network runs, in a runtime that frees every map after its last use.

A map is written beside what is alive, unless its operator can work in place: an addition or an activation overwrites an
input of the same size that nobody reads afterwards. That is what memory planners of inference runtimes do; what a
kernel needs for itself (a packed copy of its input, say) comes on top.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True, kw_only=True)
class Step:
    """One operator.

    Args:
        reads: names of the maps that it reads.
        writes: name of the map that it writes.
        elements: of that map.
        in_place: it may overwrite a map that it reads.
    """

    reads: tuple[str, ...]
    writes: str
    elements: int
    in_place: bool = False


def peak_elements(inputs: Mapping[str, int], steps: Sequence[Step], outputs: Iterable[str]) -> int:
    """The largest sum of the elements of all maps alive at once.

    Args:
        inputs: elements of each map that is there at the beginning; freed after its last use, but never overwritten.
        steps: operators in the order in which they run.
        outputs: maps that stay alive to the end.
    """
    last_use = {name: i for i, step in enumerate(steps) for name in step.reads}
    last_use |= dict.fromkeys(outputs, len(steps))
    alive = dict(inputs)
    peak = sum(alive.values())
    for i, step in enumerate(steps):
        dying = {name for name in step.reads if last_use[name] == i and name in alive}
        reused = next(
            (name for name in sorted(dying) if step.in_place and name not in inputs and alive[name] == step.elements),
            None,
        )
        if reused is not None:
            dying.discard(reused)
            del alive[reused]
        alive[step.writes] = step.elements
        peak = max(peak, sum(alive.values()))
        for name in dying:
            del alive[name]
        if step.writes not in last_use:
            del alive[step.writes]
    return peak


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
