"""Price: a latency table whose blocks a cost model prices when they are asked for, of any net at any size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields

import torch
from torch import nn

from hardware_profiles.errors import BadProfile
from hardware_profiles.fit.count import count_layers
from hardware_profiles.fit.public import TERMS
from hardware_profiles.types import CostModel, Latency, LatencyTable, OpKey, TableHead

BuildOp = Callable[[OpKey], nn.Module]


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
            with torch.device("meta"):
                block = self._build(key)
        except ValueError as error:
            raise KeyError(key) from error
        layers = count_layers(block, [(key.c_in, key.height_px, key.width_px)])
        image_ms = sum(cost * TERMS[term](layer) for layer in layers for term, cost in self._model.terms.items())
        ms = round(image_ms, 9)
        return Latency(median_ms=ms, p90_ms=ms, samples=1)


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
