"""Chains of convolutions: blocks and networks small enough to time in a test."""

import itertools
from functools import partial

from torch import nn

from hardware_profiles import Network, OpKey

SIDE_PX = 8


def conv_key(c_in: int, c_out: int) -> OpKey:
    return OpKey(kind="conv", c_in=c_in, c_out=c_out, kernel=3, height_px=SIDE_PX, width_px=SIDE_PX)


def conv(c_in: int, c_out: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU())


BLOCKS = {conv_key(i, o): partial(conv, i, o) for i, o in ((3, 8), (8, 8), (8, 16), (16, 8))}
CHAINS = [(3, 8), (3, 8, 8), (3, 8, 16, 8), (3, 8, 8, 8), (3, 8, 8, 16), (3, 8, 16, 8, 16, 8), (3, 8, 16)]


def network(channels: tuple[int, ...]) -> Network:
    pairs = list(itertools.pairwise(channels))
    return Network(
        ops=tuple(conv_key(i, o) for i, o in pairs),
        build=lambda: nn.Sequential(*(conv(i, o) for i, o in pairs)),
        input_nchw=(1, 3, SIDE_PX, SIDE_PX),
    )


NETWORKS = [network(channels) for channels in CHAINS]
