"""Cell: the DARTS space, in which a normal and a reduction cell are chosen, and how many of which width are stacked.

Liu et al., DARTS, ICLR 2019; SSNAS (Kaplan and Giryes, arXiv:2007.01500) searches it without labels. Its networks share
no weights: cells are found by ``search.oneshot.darts.strategy``, and a supernet of this net holds one network.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import cache, partial

from torch import Tensor, nn

from hardware_profiles import OpKey
from search.nets.cell_body import (
    STEM_STRIDES,
    Cell,
    CellBackbone,
    FactorizedReduce,
    Place,
    Stem,
    make_op,
    places,
    relu_conv_norm,
    stem_channels,
    stem_stride,
)
from search.nets.counts import cell_peak_elements
from search.nets.genotype import INPUTS, NODES, ROLES, Genotype, Slot
from search.nets.layers import Layers
from search.nets.net import Choice, Net, Part
from search.types import Architecture

CELLS = (5, 8, 14, 20)  # DARTS uses 8 to search and 20 to train; 5 and 14 lie beside them
CHANNELS = (8, 16, 24, 36, 48)  # DARTS uses 16 to search and 36 to train
# From the cheapest to the dearest, as every choice's options are.
_BY_SIZE = (
    "skip_connect",
    "max_pool_3x3",
    "avg_pool_3x3",
    "dil_conv_3x3",
    "dil_conv_5x5",
    "sep_conv_3x3",
    "sep_conv_5x5",
)


class CellNet(Net):
    """The family: depth, width, and per cell and node two operations and the two nodes that they read."""

    name = "cell"
    shares_weights = False
    light_blocks = True
    sized_by = 2  # cells and channels

    def __init__(self) -> None:
        sizes = (Choice(name="cells", options=CELLS), Choice(name="channels", options=CHANNELS))
        self.space = (*sizes, *(choice for role in ROLES for choice in _cell_choices(role)))
        self._at_choice = {choice.name: i for i, choice in enumerate(self.space)}

    def architecture(self, genotype: Genotype, *, cells: int, channels: int, resolution_px: int) -> Architecture:
        """The network that stacks ``cells`` of a genotype's cells, the first one with ``channels``.

        Raises:
            BadArchitecture: the net has no such depth or width.
        """
        chosen: dict[str, str | int] = {"cells": cells, "channels": channels}
        for role, node in itertools.product(ROLES, range(NODES)):
            slots = genotype.slots(role)[INPUTS * node : INPUTS * (node + 1)]
            chosen[f"{role}.node{node}.inputs"] = "".join(str(source) for _, source in slots)
            chosen |= {f"{role}.node{node}.op{i}": op for i, (op, _) in enumerate(slots)}
        choices = tuple(chosen[choice.name] for choice in self.space)
        architecture = Architecture(net=self.name, choices=choices, resolution_px=resolution_px)
        self.check(architecture)
        return architecture

    def genotype(self, architecture: Architecture) -> Genotype:
        """The cells of a network, without their number and width."""
        self.check(architecture)
        return _genotype(self.values(architecture).__getitem__)

    def values(self, architecture: Architecture) -> dict[str, int]:
        """Depth, width, where the other choices stand among their options; the resolution gives the stem's stride."""
        values = {"stem.stride": stem_stride(architecture.resolution_px)}
        for choice, option in zip(self.space, architecture.choices, strict=True):
            values[choice.name] = option if isinstance(option, int) else choice.options.index(option)
        return values

    def labels(self) -> dict[str, tuple[int, ...]]:
        """The choices are the labels, and the stem's stride."""
        labels: dict[str, tuple[int, ...]] = {"stem.stride": STEM_STRIDES}
        for choice in self.space:
            numbers = [option if isinstance(option, int) else i for i, option in enumerate(choice.options)]
            labels[choice.name] = tuple(numbers)
        return labels

    def make(self, layers: Layers) -> CellBackbone:
        """See ``Net``; ``layers`` must know one number for each label."""
        cells, channels, stride = (layers.value(label) for label in ("cells", "channels", "stem.stride"))
        return CellBackbone(cells, channels, stride, partial(final_cell, _genotype(layers.value)))

    def parts(self, resolution_px: int) -> tuple[Part, ...]:
        """What prepares the cells' inputs, and a part for each operation, with its copies in all cells of its role."""
        frame = tuple(tuple(frame_ops(resolution_px, *size)) for size in itertools.product(CELLS, CHANNELS))
        peaks = tuple(cell_peak_elements(resolution_px, *size) for size in itertools.product(CELLS, CHANNELS))
        parts = [Part(choices=(0, 1), ops=frame, peaks=peaks)]
        for role, node, i in itertools.product(ROLES, range(NODES), range(INPUTS)):
            # What a node reads decides its operations' stride, and only in a reduction cell.
            pairs = _input_pairs(node if role == "reduce" else 0)
            names = [f"{role}.node{node}.op{i}"]
            if len(pairs) > 1:
                names.insert(0, f"{role}.node{node}.inputs")
            at = tuple(self._at_choice[name] for name in names)
            grid = itertools.product(CELLS, CHANNELS, pairs, _BY_SIZE)
            ops = tuple(
                edge_ops(resolution_px, cells, channels, role, int(pair[i]), op) for cells, channels, pair, op in grid
            )
            parts.append(Part(choices=(0, 1, *at), ops=ops))
        return tuple(parts)

    def build_op(self, key: OpKey) -> nn.Module:
        """See ``Net``."""
        match key.kind:
            case "cell_stem":
                return _StemBlock(key.c_out // 3 if key.stride <= 2 else key.c_out, key.stride)
            case "relu_conv_norm":
                return relu_conv_norm(key.c_in, key.c_out)
            case "factorized_reduce":
                return FactorizedReduce(key.c_in, key.c_out)
            case kind if kind in _BY_SIZE and kind != "skip_connect":
                return make_op(kind, key.c_in, key.stride)
        known = ", ".join(("cell_stem", "relu_conv_norm", "factorized_reduce", *_BY_SIZE[1:]))
        raise ValueError(f"cell has no block of kind {key.kind!r}; it has {known}")


def final_cell(genotype: Genotype, place: Place) -> Cell:
    """The cell of a final network at ``place``."""
    slots = genotype.slots(place.role)
    nodes = [
        [(source, make_op(op, place.channels, place.stride if source < INPUTS else 1)) for op, source in pair]
        for pair in (slots[i : i + INPUTS] for i in range(0, len(slots), INPUTS))
    ]
    return Cell(place, nodes, affine=True)


@cache
def edge_ops(resolution_px: int, cells: int, channels: int, role: str, source: int, op: str) -> tuple[OpKey, ...]:
    """The blocks of one operation in every cell of its role; an identity takes none.

    Args:
        resolution_px: side of the network's input, in pixels.
        cells: depth of the network.
        channels: of its first cell.
        role: ``normal`` or ``reduce``.
        source: the node that the operation reads; the first two are the cell's inputs.
        op: its name; not ``none``.
    """
    found = []
    for place in places(cells, channels, stem_stride(resolution_px)):
        if place.role == role:
            stride = place.stride if source < INPUTS else 1
            side = _side(resolution_px, place.halvings + (place.role == "reduce" and stride == 1))
            if op != "skip_connect":
                found.append(_key(op, place.channels, place.channels, int(op[-1]), stride, side))
            elif stride == 2:
                found.append(_key("factorized_reduce", place.channels, place.channels, 1, 2, side))
    return tuple(found)


def frame_ops(resolution_px: int, cells: int, channels: int) -> Iterator[OpKey]:
    """The stem and what prepares the cells' inputs: the blocks that every cell of a network of this size needs."""
    stride = stem_stride(resolution_px)
    yield _key("cell_stem", 3, stem_channels(channels, stride), 3, stride, resolution_px)
    for place in places(cells, channels, stride):
        if place.after_reduction:
            larger = _side(resolution_px, place.halvings - 1)
            yield _key("factorized_reduce", place.c_before_last, place.channels, 1, 2, larger)
        side = _side(resolution_px, place.halvings)
        if not place.after_reduction:
            yield _key("relu_conv_norm", place.c_before_last, place.channels, 1, 1, side)
        yield _key("relu_conv_norm", place.c_last, place.channels, 1, 1, side)


class _StemBlock(Stem):
    """A stem alone, as a block with one output."""

    def forward(self, x_BCHW: Tensor) -> Tensor:  # type: ignore[override]  # noqa: N803
        return super().forward(x_BCHW)[1]


def _cell_choices(role: str) -> Iterator[Choice]:
    for node in range(NODES):
        if node:
            yield Choice(name=f"{role}.node{node}.inputs", options=_input_pairs(node))
        yield from (Choice(name=f"{role}.node{node}.op{i}", options=_BY_SIZE) for i in range(INPUTS))


def _input_pairs(node: int) -> tuple[str, ...]:
    return tuple(f"{a}{b}" for a, b in itertools.combinations(range(node + INPUTS), INPUTS))


def _genotype(value: Callable[[str], int]) -> Genotype:
    """From the numbers under the labels."""

    def cell(role: str) -> Iterator[Slot]:
        for node in range(NODES):
            pair = _input_pairs(node)[value(f"{role}.node{node}.inputs") if node else 0]
            for i, source in enumerate(pair):
                yield _BY_SIZE[value(f"{role}.node{node}.op{i}")], int(source)

    return Genotype(normal=tuple(cell("normal")), reduce=tuple(cell("reduce")))


def _side(resolution_px: int, halvings: int) -> int:
    return -(-resolution_px // (1 << halvings))


def _key(kind: str, c_in: int, c_out: int, kernel: int, stride: int, side_px: int) -> OpKey:
    return OpKey(kind=kind, c_in=c_in, c_out=c_out, kernel=kernel, stride=stride, height_px=side_px, width_px=side_px)


CELL = CellNet()
