"""Net: a family of networks that share weights; its choices, its blocks, and how to build one of them."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from torch import nn

from hardware_profiles import OpKey
from search.errors import BadArchitecture
from search.nets.layers import Backbone, Layers, PlainLayers
from search.types import Architecture


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One thing to choose; ``options`` run from the smallest to the largest."""

    name: str
    options: tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A piece of the network whose blocks depend on a few choices only, so that costs are sums of small tables.

    Args:
        choices: positions in ``Net.space`` that this piece depends on.
        ops: the blocks for every combination of their options, the last choice varying fastest.
        peaks: elements alive at once for every combination, one image, where maps stay alive from block to block;
            empty where each block reads the one before it and nothing else.
    """

    choices: tuple[int, ...]
    ops: tuple[tuple[OpKey, ...], ...]
    peaks: tuple[int, ...] = ()


class Net(ABC):
    """A family of networks; where they share weights, every network's are slices of the largest one's."""

    name: str
    space: tuple[Choice, ...]
    shares_weights: bool = True
    light_blocks: bool = False  # some are no more work than a 1x1 depthwise convolution
    weights: str | None = None  # nets with the same word here have weights of the same names and shapes
    map_choices: Mapping[str, int] = MappingProxyType({})  # of maps whose width is chosen: the position in ``space``
    sized_by: int | None = None  # how many choices, the first ones, make a network large or small; None: all do

    @abstractmethod
    def values(self, architecture: Architecture) -> dict[str, int]:
        """The number under each label that ``make`` asks its layers for."""

    @abstractmethod
    def labels(self) -> dict[str, tuple[int, ...]]:
        """Every label with its possible numbers, smallest first."""

    @abstractmethod
    def make(self, layers: Layers) -> Backbone:
        """The network, written once against ``layers``."""

    @abstractmethod
    def parts(self, resolution_px: int) -> tuple[Part, ...]:
        """The network's pieces at an input of ``resolution_px``."""

    @abstractmethod
    def build_op(self, key: OpKey) -> nn.Module:
        """The module that ``key`` stands for, [B, c_in, height_px, width_px] in."""

    def build(self, architecture: Architecture) -> Backbone:
        """A plain torch network with fresh weights; ``architecture`` is checked first."""
        self.check(architecture)
        backbone = self.make(PlainLayers(self.values(architecture)))
        self.initialize(backbone)
        return backbone

    def initialize(self, module: nn.Module) -> None:
        """Kaiming weights for convolutions; called after a supernet has replaced its modules, too.

        Fan-in: torch counts the fan-out of a depthwise convolution as if it were dense, which would make its weights
        so small that one step of the optimizer turns them around.
        """
        for part in module.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_in", nonlinearity="relu")

    def largest(self, resolution_px: int) -> Architecture:
        """The network that contains all others."""
        return self._at([len(choice.options) - 1 for choice in self.space], resolution_px)

    def smallest(self, resolution_px: int) -> Architecture:
        """The network that all others contain."""
        return self._at([0] * len(self.space), resolution_px)

    def random(self, resolution_px: int, rng: np.random.Generator) -> Architecture:
        """A network with every choice uniform."""
        return self._at([int(rng.integers(len(choice.options))) for choice in self.space], resolution_px)

    def encode(self, architectures: Iterable[Architecture]) -> NDArray[np.int64]:
        """Architectures, which are checked -> option positions [N, len(space)]."""
        where = [{option: i for i, option in enumerate(choice.options)} for choice in self.space]
        rows = []
        for architecture in architectures:
            self.check(architecture)
            rows.append([index[option] for index, option in zip(where, architecture.choices, strict=True)])
        return np.array(rows, dtype=np.int64).reshape(-1, len(self.space))

    def decode(self, rows: NDArray[np.int64], resolution_px: int) -> list[Architecture]:
        """Option positions [N, len(space)] -> architectures."""
        return [self._at(row, resolution_px) for row in rows.tolist()]

    def ops(self, architecture: Architecture) -> tuple[OpKey, ...]:
        """The blocks of one network, in order."""
        row = self.encode([architecture])[0]
        blocks: list[OpKey] = []
        for part in self.parts(architecture.resolution_px):
            blocks.extend(part.ops[self.position(part, row)])
        return tuple(blocks)

    def position(self, part: Part, row: NDArray[np.int64]) -> int:
        """Where a network stands in the table of a part, given its option positions [len(space)]."""
        shape = [len(self.space[i].options) for i in part.choices]
        return int(np.ravel_multi_index(tuple(row[list(part.choices)]), shape)) if shape else 0

    def op_keys(self, resolution_px: int) -> tuple[OpKey, ...]:
        """Every distinct block of every network at this resolution, in the order of first use."""
        grid = itertools.chain.from_iterable(part.ops for part in self.parts(resolution_px))
        return tuple(dict.fromkeys(itertools.chain.from_iterable(grid)))

    def check(self, architecture: Architecture) -> None:
        """Raise BadArchitecture (a ValueError) for an architecture that this net does not have."""
        if architecture.net != self.name:
            raise BadArchitecture(f"architecture is of net {architecture.net!r}, not {self.name!r}")
        if len(architecture.choices) != len(self.space):
            raise BadArchitecture(f"{self.name} needs {len(self.space)} choices, got {len(architecture.choices)}")
        for choice, option in zip(self.space, architecture.choices, strict=True):
            if option not in choice.options:
                known = ", ".join(map(str, choice.options))
                raise BadArchitecture(f"{choice.name} is {option!r}; {self.name} has {known}")

    @property
    def size(self) -> int:
        """How many networks the family holds."""
        return math.prod(len(choice.options) for choice in self.space)

    def _at(self, row: Iterable[int], resolution_px: int) -> Architecture:
        choices = tuple(choice.options[i] for choice, i in zip(self.space, row, strict=True))
        return Architecture(net=self.name, choices=choices, resolution_px=resolution_px)


class Fixed(Net):
    """The family that holds ``architecture`` alone, under its net's name.

    Args:
        net: the family that it comes from.
        architecture: of that family; checked.

    Raises:
        BadArchitecture: the net has no such network.
    """

    def __init__(self, net: Net, architecture: Architecture) -> None:
        net.check(architecture)
        self._net, self._architecture = net, architecture
        self.name = net.name
        options = zip(net.space, architecture.choices, strict=True)
        self.space = tuple(Choice(name=choice.name, options=(option,)) for choice, option in options)

    def values(self, architecture: Architecture) -> dict[str, int]:
        """The network's numbers."""
        self.check(architecture)
        return self._net.values(architecture)

    def labels(self) -> dict[str, tuple[int, ...]]:
        """One number under each label."""
        return {label: (value,) for label, value in self._net.values(self._architecture).items()}

    def make(self, layers: Layers) -> Backbone:
        """See ``Net``."""
        return self._net.make(layers)

    def initialize(self, module: nn.Module) -> None:
        """As the family does."""
        self._net.initialize(module)

    def parts(self, resolution_px: int) -> tuple[Part, ...]:
        """The family's, each with the one option that is this network's."""
        (row,) = self._net.encode([replace(self._architecture, resolution_px=resolution_px)])
        parts = [(part, self._net.position(part, row)) for part in self._net.parts(resolution_px)]
        return tuple(Part(choices=(), ops=(part.ops[at],), peaks=part.peaks[at : at + 1]) for part, at in parts)

    def build_op(self, key: OpKey) -> nn.Module:
        """See ``Net``."""
        return self._net.build_op(key)

    def check(self, architecture: Architecture) -> None:
        """Raise BadArchitecture for any other network, and for a resolution that asks for other layers."""
        super().check(architecture)
        if self._net.values(architecture) != self._net.values(self._architecture):
            raise BadArchitecture(
                f"this {self.name} network is for {self._architecture.resolution_px} px, and at"
                f" {architecture.resolution_px} px it would have other layers; train it anew for those"
            )


def square_op(kind: str, c_in: int, c_out: int, kernel: int, stride: int, expand: int, side_px: int) -> OpKey:
    """A block on a square map."""
    sizes = {"c_in": c_in, "c_out": c_out, "kernel": kernel, "stride": stride, "expand": expand}
    return OpKey(kind=kind, **sizes, height_px=side_px, width_px=side_px)
