"""Counts: multiply-accumulates, parameters and peak memory of a block, from its shapes alone.

Every kind of block is written down as the layers that it consists of; tests compare each count with the built module's.
Building them instead takes most of a short search's time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from hardware_profiles import OpKey
from hardware_profiles.memory import Step, peak_elements
from search.nets.cell_body import Place, places, stem_stride
from search.nets.genotype import INPUTS, NODES
from search.nets.heads import WIDTH


@dataclass(frozen=True, kw_only=True)
class BlockCount:
    """Of one block and one image; batch normalization is folded for memory and counted for parameters."""

    macs: int
    params: int
    peak_elements: int


@dataclass(frozen=True, kw_only=True)
class Map:
    """A feature map: its name in the block, its channels and its size in pixels."""

    name: str
    channels: int
    height: int
    width: int

    @property
    def elements(self) -> int:
        """Numbers in it."""
        return self.channels * self.height * self.width


class Tally:
    """Counts layers as a block names them.

    Args:
        key: the block; its input is the map ``input``.
    """

    def __init__(self, key: OpKey) -> None:
        self.input = Map(name="input", channels=key.c_in, height=key.height_px, width=key.width_px)
        self._macs = self._params = 0
        self._steps: list[Step] = []

    def conv(
        self,
        x: Map,
        c_out: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        norm: bool = True,
        bias: bool = False,
    ) -> Map:
        """A convolution that divides both sides by ``stride``, normalized unless ``norm`` is false."""
        height, width = -(-x.height // stride), -(-x.width // stride)
        weights = c_out * (x.channels // groups) * kernel * kernel
        self._macs += weights * height * width
        self._params += weights + (2 * c_out if norm else 0) + (c_out if bias else 0)
        return self._write((x,), c_out, height, width)

    def shift(self, x: Map) -> Map:
        """Moved by a row and a column."""
        return self._write((x,), x.channels, x.height, x.width)

    def pool(self, x: Map, stride: int = 1) -> Map:
        """A pooling over small windows."""
        return self._write((x,), x.channels, -(-x.height // stride), -(-x.width // stride))

    def mean(self, x: Map) -> Map:
        """The mean over all positions."""
        return self._write((x,), x.channels, 1, 1)

    def relu(self, x: Map) -> Map:
        """An activation that no convolution before it takes along; in place unless ``x`` is the block's input."""
        return self._write((x,), x.channels, x.height, x.width, in_place=True)

    def add(self, x: Map, y: Map) -> Map:
        """A sum, in place."""
        return self._write((x, y), x.channels, x.height, x.width, in_place=True)

    def join(self, x: Map, y: Map) -> Map:
        """Both maps' channels in one map."""
        return self._write((x, y), x.channels + y.channels, x.height, x.width)

    def larger(self, x: Map, times: int) -> Map:
        """Both sides so many times as long."""
        return self._write((x,), x.channels, times * x.height, times * x.width)

    def scaled(self, x: Map, by: Map) -> Map:
        """Every channel times its number in ``by``, in place."""
        return self._write((x, by), x.channels, x.height, x.width, in_place=True)

    def count(self, output: Map) -> BlockCount:
        """Everything so far."""
        inputs = {self.input.name: self.input.elements}
        peak = peak_elements(inputs, self._steps, [output.name])
        return BlockCount(macs=self._macs, params=self._params, peak_elements=peak)

    def _write(self, reads: tuple[Map, ...], channels: int, height: int, width: int, *, in_place: bool = False) -> Map:
        made = Map(name=f"map{len(self._steps)}", channels=channels, height=height, width=width)
        names = tuple(x.name for x in reads)
        self._steps.append(Step(reads=names, writes=made.name, elements=made.elements, in_place=in_place))
        return made


@cache
def count_block(key: OpKey) -> BlockCount:
    """The count of a block of any net.

    Raises:
        ValueError: the kind of block is not written down here.
    """
    layers = _KINDS.get(key.kind)
    if layers is None:
        raise ValueError(f"no count is known for blocks of kind {key.kind!r}; there are {', '.join(_KINDS)}")
    tally = Tally(key)
    return tally.count(layers(tally, tally.input, key))


def _stem(t: Tally, x: Map, key: OpKey) -> Map:
    """3x3; or 7x7 of stride 2 and a pooling."""
    y = t.conv(x, key.c_out, key.kernel, 2 if key.kernel == 7 else key.stride)
    return t.pool(y, 2) if key.kernel == 7 else y


def _mbconv(t: Tally, x: Map, key: OpKey) -> Map:
    hidden = key.expand * key.c_in
    y = t.conv(t.conv(x, hidden), hidden, key.kernel, key.stride, groups=hidden)
    y = t.conv(y, key.c_out)
    return t.add(x, y) if key.stride == 1 and key.c_in == key.c_out else y


def _head(t: Tally, x: Map, key: OpKey) -> Map:
    return t.mean(t.conv(x, key.c_out))


def _bottleneck(t: Tally, x: Map, key: OpKey) -> Map:
    width = key.c_out // key.expand
    y = t.conv(t.conv(t.conv(x, width), width, key.kernel, key.stride), key.c_out)
    return t.add(y, t.conv(x, key.c_out, 1, key.stride) if key.kind == "bottleneck_first" else x)


def _cell_stem(t: Tally, x: Map, key: OpKey) -> Map:
    if key.stride <= 2:
        return t.conv(x, key.c_out, 3, key.stride)
    y = t.conv(t.relu(t.conv(x, key.c_out // 2, 3, 2)), key.c_out, 3, 2)
    return t.conv(t.relu(y), key.c_out, 3, 2) if key.stride == 8 else y


def _relu_conv_norm(t: Tally, x: Map, key: OpKey) -> Map:
    return t.conv(t.relu(x), key.c_out)


def _factorized_reduce(t: Tally, x: Map, key: OpKey) -> Map:
    x = t.relu(x)
    shifted = t.shift(x)
    even = t.conv(t.pool(x, 2), key.c_out // 2)
    odd = t.conv(t.pool(shifted, 2), key.c_out - key.c_out // 2)
    return t.join(even, odd)


def _pool(t: Tally, x: Map, key: OpKey) -> Map:
    return t.pool(x, key.stride)


def _sep_conv(t: Tally, x: Map, key: OpKey) -> Map:
    return _dil_conv(t, _dil_conv(t, x, key), replace(key, stride=1))


def _dil_conv(t: Tally, x: Map, key: OpKey) -> Map:
    y = t.conv(t.relu(x), key.c_in, key.kernel, key.stride, groups=key.c_in, norm=False)
    return t.conv(y, key.c_out)


def _separable(t: Tally, x: Map) -> Map:
    return t.conv(t.conv(x, x.channels, 3, groups=x.channels), x.channels)


def _det_lateral(t: Tally, x: Map, key: OpKey) -> Map:
    return t.conv(x, key.c_out)


def _det_up(t: Tally, x: Map, key: OpKey) -> Map:
    y = t.larger(x, 2)
    return t.add(y, y)


def _det_predict(t: Tally, x: Map, key: OpKey) -> Map:
    raw = t.conv(_separable(t, _separable(t, x)), key.c_out + 5, norm=False, bias=True)
    return t.shift(raw)  # decoded beside what it is decoded from


def _seg_high(t: Tally, x: Map, key: OpKey) -> Map:
    gate = t.conv(t.mean(x), key.c_out, norm=False, bias=True)
    return t.larger(t.scaled(t.conv(x, key.c_out), gate), 4)


def _seg_predict(t: Tally, x: Map, key: OpKey) -> Map:
    y = t.conv(x, WIDTH)
    return t.conv(_separable(t, t.add(y, y)), key.c_out, norm=False, bias=True)


_KINDS: dict[str, Callable[[Tally, Map, OpKey], Map]] = {
    "stem": _stem,
    "mbconv": _mbconv,
    "head": _head,
    "bottleneck_first": _bottleneck,
    "bottleneck": _bottleneck,
    "cell_stem": _cell_stem,
    "relu_conv_norm": _relu_conv_norm,
    "factorized_reduce": _factorized_reduce,
    "max_pool_3x3": _pool,
    "avg_pool_3x3": _pool,
    "sep_conv_3x3": _sep_conv,
    "sep_conv_5x5": _sep_conv,
    "dil_conv_3x3": _dil_conv,
    "dil_conv_5x5": _dil_conv,
    "det_lateral": _det_lateral,
    "det_up": _det_up,
    "det_predict": _det_predict,
    "seg_high": _seg_high,
    "seg_predict": _seg_predict,
}


def cell_peak_elements(resolution_px: int, cells: int, channels: int) -> int:
    """An upper bound, one image: every edge is taken for a separable convolution, and no input is freed early."""
    stack = places(cells, channels, stem_stride(resolution_px))
    return max(max(_preparing(place, resolution_px), _adding(place, resolution_px)) for place in stack)


def _preparing(place: Place, resolution_px: int) -> int:
    """Both inputs, and a copy of the one that is activated on its way to becoming smaller."""
    side = _side(resolution_px, place.halvings)
    larger = _side(resolution_px, place.halvings - 1) if place.after_reduction else side
    before_last = place.c_before_last * larger**2
    last, prepared = place.c_last * side**2, place.channels * side**2
    return last + before_last + max(before_last + prepared, prepared + last + prepared)


def _adding(place: Place, resolution_px: int) -> int:
    """The last cell's output, which the next cell reads, the prepared inputs, all nodes, and one edge at work."""
    side = _side(resolution_px, place.halvings)
    after = -(-side // place.stride)
    states = place.channels * (INPUTS * side**2 + NODES * after**2)
    at_work = place.channels * (side**2 + after**2)
    joined = NODES * place.channels * after**2
    return place.c_last * side**2 + max(states + at_work, states - INPUTS * place.channels * side**2 + joined)


def _side(resolution_px: int, halvings: int) -> int:
    return -(-resolution_px // (1 << halvings))
