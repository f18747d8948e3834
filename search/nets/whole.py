"""Whole: a net's networks with a head of blocks, so that what takes a backbone's costs takes a whole model's."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
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
        self.map_choices = net.map_choices

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
        BadHead: the maps are too few, their widths depend on other choices than the net says, or there is no class.
    """

    def __init__(self, net: Net, task: Task, classes: int, width_px: int | None = None) -> None:
        super().__init__(net, width_px)
        self.task, self.classes = task, classes
        self._widths = map_widths(net)
        self._levels = levels_of({name: widths[-1] for name, widths in self._widths.items()})
        head_ops(task, self._channels({}), classes, 32, 32)

    def channels(self, architecture: Architecture) -> dict[str, int]:
        """Channels of a network's maps by name."""
        (row,) = self.encode([architecture]).tolist()
        return self._channels(dict(enumerate(row)))

    def head(self, architecture: Architecture) -> tuple[OpKey, ...]:
        """The blocks of a network's head."""
        size_px = self.size_px(architecture.resolution_px)
        return head_ops(self.task, self.channels(architecture), self.classes, *size_px)

    def parts(self, resolution_px: int) -> tuple[Part, ...]:
        """The backbone's and the head's; maps that the head reads stay alive until it has read them."""
        size_px = self.size_px(resolution_px)
        body = [part for part in (self._body(part, size_px) for part in super().parts(resolution_px)) if any(part.ops)]
        choices = self._choices(self._levels)
        heads, peaks = [], []
        for channels in self._every(choices):
            keys = head_ops(self.task, channels, self.classes, *size_px)
            alive = sum(_elements(level, channels, size_px) for level in self._levels)
            heads.append(keys)
            peaks.append(alive + max(count_block(key).peak_elements for key in keys))
        return (*body, Part(choices=choices, ops=tuple(heads), peaks=tuple(peaks)))

    def _body(self, part: Part, size_px: tuple[int, int]) -> Part:
        """A part of the backbone: no pooling, and beside its own maps the finer ones that wait for the head."""
        ops = tuple(tuple(key for key in keys if key.kind != "head") for keys in part.ops)
        sides = [key.height_px for keys in ops for key in keys]
        waiting = [level for level in self._levels if sides and size_px[0] // level.stride > min(sides)]
        more = tuple(choice for choice in self._choices(waiting) if choice not in part.choices)
        copies = math.prod(len(self.space[choice].options) for choice in more)
        peaks = []
        for at, channels in enumerate(self._every((*part.choices, *more))):
            keys = part.ops[at // copies]
            own = [(key.height_px, count_block(key).peak_elements) for key in keys]
            if part.peaks and keys:
                own = [(keys[0].height_px, part.peaks[at // copies])]
            alive = [
                sum(_elements(one, channels, size_px) for one in waiting if _side(one, size_px) > side)
                for side, _ in own
            ]
            peaks.append(max((peak + beside for (_, peak), beside in zip(own, alive, strict=True)), default=0))
        repeated = tuple(keys for keys in ops for _ in range(copies))
        return Part(choices=(*part.choices, *more), ops=repeated, peaks=tuple(peaks))

    def _choices(self, levels: Iterable[Level]) -> tuple[int, ...]:
        """The choices that the widths of these maps depend on."""
        found = (self._net.map_choices.get(level.name) for level in levels)
        return tuple(dict.fromkeys(choice for choice in found if choice is not None))

    def _every(self, choices: tuple[int, ...]) -> Iterator[dict[str, int]]:
        """Channels of all maps for every combination of these choices' options, the last one varying fastest."""
        grid = itertools.product(*(range(len(self.space[choice].options)) for choice in choices))
        return (self._channels(dict(zip(choices, row, strict=True))) for row in grid)

    def _channels(self, options: Mapping[int, int]) -> dict[str, int]:
        """Channels of the maps, by the option of each choice; of a choice that is not given, the first one."""
        chosen = {name: options.get(self._net.map_choices.get(name, -1), 0) for name in self._widths}
        return {name: widths[chosen[name]] for name, widths in self._widths.items()}


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
        levels_of({name: widths[-1] for name, widths in map_widths(net).items()})
    except BadHead:
        return False
    return True


def all_head_ops(
    net: Net, resolution_px: int, classes: Sequence[int], width_px: int | None = None
) -> tuple[OpKey, ...]:
    """The blocks of all heads for these numbers of classes; none where the net takes no heads."""
    if not takes_heads(net):
        return ()
    heads = (Headed(net, task, n, width_px).parts(resolution_px)[-1] for task in HEADS for n in classes)
    return tuple(dict.fromkeys(key for head in heads for keys in head.ops for key in keys))


# As small as every net takes; channels do not depend on it.
_ANY_PX = 32


def map_widths(net: Net) -> dict[str, tuple[int, ...]]:
    """Channels of each feature map by name: for every option of the choice that they depend on, or one number.

    Raises:
        BadHead: they depend on other choices than the net says.
    """
    counts = [len(choice.options) for choice in net.space]
    steps = max((counts[choice] for choice in net.map_choices.values()), default=1)
    rows = [np.minimum(i, np.array(counts) - 1) for i in (*range(steps), max(counts))]  # the smallest to the largest
    found = []
    for one in net.decode(np.array(rows), _ANY_PX):
        if one not in _CHANNELS:
            _CHANNELS[one] = _channels(net, one)
        found.append(_CHANNELS[one])
    widths = {}
    for name in found[0]:
        choice, channels = net.map_choices.get(name), [maps[name] for maps in found]
        if choice is None and len(set(channels)) > 1:
            raise BadHead(f"the maps of {net.name} differ from network to network; a head of blocks needs one width")
        widths[name] = tuple(channels[: 1 if choice is None else counts[choice]])
    return widths


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


def _side(level: Level, size_px: tuple[int, int]) -> int:
    return -(-size_px[0] // level.stride)


def _elements(level: Level, channels: Mapping[str, int], size_px: tuple[int, int]) -> int:
    height, width = (-(-side // level.stride) for side in size_px)
    return channels[level.name] * height * width
