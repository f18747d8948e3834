"""Price: a latency table whose blocks a cost model prices when they are asked for, of any net at any size.

The model comes from published times (``public``) or from the device's own table of another net (``costs_of``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import lru_cache

import numpy as np
import torch
from torch import nn

from hardware_profiles.errors import BadProfile
from hardware_profiles.fit.count import Layer, count_layers
from hardware_profiles.fit.public import TERMS, robust_costs, work_of
from hardware_profiles.types import CostModel, Latency, LatencyTable, OpKey, Scaling, TableHead

BuildOp = Callable[[OpKey], nn.Module]
# What tells the blocks of one net apart.
_OF_BLOCKS = ("calls", "weights", "macs", "depthwise_macs", "convolution_traffic", "depthwise_traffic")


class Priced(Mapping[OpKey, Latency]):
    """Times of blocks by a cost model: of those listed, and of any other that can be built.

    Args:
        model: the costs.
        listed: the blocks to iterate over.
        build: makes a block, and raises KeyError or ValueError for what it does not know.
    """

    def __init__(self, model: CostModel, listed: Sequence[OpKey], build: BuildOp) -> None:
        if unknown := sorted(model.terms.keys() - TERMS):
            raise BadProfile(f"the cost model of {model.device.id} has unknown terms: {', '.join(unknown)[:200]}")
        self._model, self._listed, self._build = model, tuple(listed), build
        self._known: dict[OpKey, Latency] = {}

    def __getitem__(self, key: OpKey) -> Latency:
        """The time of a block; KeyError for one that cannot be built."""
        if key not in self._known:
            self._known[key] = self._price(key)
        return self._known[key]

    def __iter__(self) -> Iterator[OpKey]:
        """Over the listed blocks."""
        return iter(self._listed)

    def __len__(self) -> int:
        """How many are listed."""
        return len(self._listed)

    def _price(self, key: OpKey) -> Latency:
        try:
            layers = layers_of(key, self._build)
        except ValueError as error:
            raise KeyError(key) from error
        ms = price_layers(self._model, layers)
        return Latency(median_ms=round(ms, 9), p90_ms=round(ms, 9), samples=1)


def price_layers(model: CostModel, layers: Sequence[Layer]) -> float:
    """Milliseconds that ``layers`` add to a network; a whole one takes the model's ``overhead_ms`` besides."""
    return sum(cost * TERMS[term](layer) for layer in layers for term, cost in model.terms.items())


@lru_cache(maxsize=4096)  # all devices price the same blocks
def layers_of(key: OpKey, build: BuildOp) -> tuple[Layer, ...]:
    """What a block computes; errors as ``build``."""
    with torch.device("meta"):
        block = build(key)
    return count_layers(block, [(key.c_in, key.height_px, key.width_px)])


def costs_of(table: LatencyTable, build: BuildOp) -> CostModel:
    """A cost model of the device of a table of blocks, to price blocks of other nets and sizes; an estimate.

    Its ``scaling`` holds how far off it is on those blocks themselves.

    Args:
        table: whose blocks tell the costs.
        build: makes them; blocks that it does not know have no say.
    """
    keys, layers = [], []
    for key in table.entries:
        with contextlib.suppress(ValueError):
            layers.append(layers_of(key, build))
            keys.append(key)
    times_ms = table.scale * np.array([table.entries[key].median_ms for key in keys])
    work = work_of(layers)
    # Blocks that take next to nothing have no say: their times are mostly those of their calls.
    rows, floored_ms = np.column_stack([work[term] for term in _OF_BLOCKS]), np.maximum(times_ms, 0.1 * times_ms.mean())
    costs = robust_costs(rows, floored_ms)
    off_percent = 100 * float(np.mean(np.abs(rows @ costs / floored_ms - 1)))
    head = {field.name: getattr(table, field.name) for field in fields(TableHead)}
    head |= {"device": replace(table.device, source="estimated"), "validation": None, "scale": 1.0}
    scaling = Scaling(from_px=table.resolution_px, mape_percent=round(off_percent, 1), seen_on=table.device.id)
    head |= {"scaling": scaling}
    terms = {term: float(cost) for term, cost in zip(_OF_BLOCKS, costs, strict=True) if cost > 0}
    return CostModel(**head, terms=terms, mobile_validation=None, made_by="")


def price_table(
    model: CostModel, listed: Sequence[OpKey], build: BuildOp, *, net: str, resolution_px: int
) -> LatencyTable:
    """The table of a net at a resolution on the device of a cost model.

    Args:
        model: the costs.
        listed: the net's blocks at that resolution.
        build: makes a block, see ``Priced``.
        net: the net's name.
        resolution_px: side of the input.

    Raises:
        BadProfile: the model has terms that this version does not know.
    """
    head = {field.name: getattr(model, field.name) for field in fields(TableHead)}
    head |= {"net": net, "resolution_px": resolution_px}
    return LatencyTable(**head, entries=Priced(model, listed, build), checks=model.checks)
