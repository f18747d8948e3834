"""Whole: a net's networks with a head of blocks, so that what takes a backbone's costs takes a whole model's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from hardware_profiles import OpKey
from search.nets.counts import count_block
from search.nets.heads import HEAD_KINDS, HEADS, BadHead, Level, build_head_op, head_ops, levels_of
from search.nets.layers import Backbone, Layers
from search.nets.net import Net, Part
from search.types import Architecture, Task


class Framed(Net):
    """The family of a net's networks for inputs that may be wider or narrower than they are high.

    Its networks are the net's; its blocks read maps of that shape.

    Args:
        net: the family; its maps are the input divided by powers of 2.
        width_px: of the input, a multiple of its coarsest stride as the height is; None: as wide as high.
    """

    def __init__(self, net: Net, width_px: int | None = None) -> None:
        self._net, self.width_px = net, width_px
        self.name, self.space = net.name, net.space
        self.weights, self.light_blocks, self.sized_by = net.weights, net.light_blocks, net.sized_by

    def values(self, architecture: Architecture) -> dict[str, int]:
        """The backbone's."""
        return self._net.values(architecture)

    def labels(self) -> dict[str, tuple[int, ...]]:
        """The backbone's."""
        return self._net.labels()

    def make(self, layers: Layers) -> Backbone:
        """The backbone."""
        return self._net.make(layers)

    def initialize(self, module: nn.Module) -> None:
        """As the net does."""
        self._net.initialize(module)

    def check(self, architecture: Architecture) -> None:
        """As the net does."""
        self._net.check(architecture)

    def build_op(self, key: OpKey) -> nn.Module:
        """A block of the net or of the head."""
        return build_block(self._net, key)

    def size_px(self, resolution_px: int) -> tuple[int, int]:
        """Height and width of an input that is ``resolution_px`` high."""
        return resolution_px, self.width_px or resolution_px

    def parts(self, resolution_px: int) -> tuple[Part, ...]:
        """The net's, each block on maps of the input's shape."""
        height, width = self.size_px(resolution_px)
        parts = self._net.parts(resolution_px)
        return parts if width == height else tuple(_wide(part, height, width) for part in parts)


class Headed(Framed):
    """The family of a net's networks with a detector's or a segmenter's head.

    Its backbones are the net's; its blocks are those of the whole: without the net's own pooling, which no head reads.

    Args:
        net: the family of the backbones.
        task: ``det`` or ``seg``.
        classes: of the head.
        width_px: see ``Framed``.

    Raises:
        BadHead: the maps differ from network to network, are too few, or there is no class.
    """

    def __init__(self, net: Net, task: Task, classes: int, width_px: int | None = None) -> None:
        super().__init__(net, width_px)
        self.task, self.classes = task, classes
        self.channels = map_channels(net)
        head_ops(task, self.channels, classes, 32, 32)

    def head(self, resolution_px: int) -> tuple[OpKey, ...]:
        """The head's blocks for an input of this height."""
        return head_ops(self.task, self.channels, self.classes, *self.size_px(resolution_px))

    def parts(self, resolution_px: int) -> tuple[Part, ...]:
        """The backbone's and the head's; maps that the head reads stay alive until it has read them."""
        waiting, size_px = levels_of(self.channels), self.size_px(resolution_px)
        parts = [_body(part, waiting, size_px) for part in super().parts(resolution_px)]
        body = [part for part in parts if any(part.ops)]
        alive = sum(_elements(level, size_px) for level in waiting)
        ops = self.head(resolution_px)
        peak = alive + max(count_block(key).peak_elements for key in ops)
        return (*body, Part(choices=(), ops=(ops,), peaks=(peak,)))


def build_block(net: Net, key: OpKey) -> nn.Module:
    """The module of a block of a net, or of a head on it.

    Raises:
        ValueError: neither has it.
    """
    return build_head_op(key) if key.kind in HEAD_KINDS else net.build_op(key)


def family_for(net: Net, task: Task, classes: int, width_px: int | None = None) -> Net:
    """What a budget for a task counts: whole models, or the net's backbones where the task or the net has no head."""
    if task in HEADS and takes_heads(net):
        return Headed(net, task, classes, width_px)
    return net if width_px is None else Framed(net, width_px)


def takes_heads(net: Net) -> bool:
    """Whether heads of blocks fit all networks of a net; not those of a single network, whose table may have none."""
    if net.size == 1:
        return False
    try:
        levels_of(map_channels(net))
    except BadHead:
        return False
    return True


def all_head_ops(
    net: Net, resolution_px: int, classes: Sequence[int], width_px: int | None = None
) -> tuple[OpKey, ...]:
    """The blocks of all heads for these numbers of classes; none where the net takes no heads."""
    if not takes_heads(net):
        return ()
    channels = map_channels(net)
    size_px = resolution_px, width_px or resolution_px
    ops = (head_ops(task, channels, n, *size_px) for task in HEADS for n in classes)
    return tuple(dict.fromkeys(key for keys in ops for key in keys))


# As small as every net takes; channels do not depend on it.
_ANY_PX = 32


def map_channels(net: Net) -> Mapping[str, int]:
    """Channels of each feature map by name, the same for every network of the net.

    Raises:
        BadHead: they differ from network to network.
    """
    ends = (net.smallest(_ANY_PX), net.largest(_ANY_PX))  # of a single network both are that one
    for one in ends:
        if one not in _CHANNELS:
            _CHANNELS[one] = _channels(net, one)
    if _CHANNELS[ends[0]] != _CHANNELS[ends[1]]:
        raise BadHead(f"the maps of {net.name} differ from network to network; a head of blocks needs one width")
    return _CHANNELS[ends[0]]


# Building the largest network, even without memory, takes a tenth of a second.
_CHANNELS: dict[Architecture, dict[str, int]] = {}


def _channels(net: Net, architecture: Architecture) -> dict[str, int]:
    with torch.device("meta"), torch.no_grad():
        maps = net.build(architecture).eval().features(torch.empty(1, 3, _ANY_PX, _ANY_PX))
    return {name: map_.shape[1] for name, map_ in maps.items()}


def _wide(part: Part, height_px: int, width_px: int) -> Part:
    """A part of a net for squares as high as the input, on maps of the input's shape."""
    ops = tuple(tuple(replace(key, width_px=key.width_px * width_px // height_px) for key in keys) for keys in part.ops)
    return replace(part, ops=ops, peaks=tuple(peak * width_px // height_px for peak in part.peaks))


def _body(part: Part, waiting: Sequence[Level], size_px: tuple[int, int]) -> Part:
    """A part of the backbone: no pooling, and beside its own maps the finer ones that wait for the head."""
    ops = tuple(tuple(key for key in keys if key.kind != "head") for keys in part.ops)
    own = part.peaks or tuple(max((count_block(key).peak_elements for key in keys), default=0) for keys in part.ops)
    sides = [keys[0].height_px for keys in ops if keys]
    alive = sum(_elements(one, size_px) for one in waiting if sides and size_px[0] // one.stride > sides[0])
    return replace(part, ops=ops, peaks=tuple(peak + alive for peak in own))


def _elements(level: Level, size_px: tuple[int, int]) -> int:
    height, width = (-(-side // level.stride) for side in size_px)
    return level.channels * height * width
