"""Fixed: one network of a net as a family of its own, so that what takes a supernet takes a single network, too."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from hardware_profiles import OpKey
from search.errors import BadArchitecture
from search.nets.layers import Backbone, Layers
from search.nets.net import Choice, Net, Part
from search.types import Architecture


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
