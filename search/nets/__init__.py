"""The nets by name."""

from collections import ChainMap
from collections.abc import Mapping

from search.nets.cell import CELL
from search.nets.cell_body import Cell
from search.nets.handcrafted import MOBILES, RESNETS, Handcrafted
from search.nets.layers import Backbone, Layers, PlainLayers
from search.nets.mobile import PHOTOS, SMALL_IMAGES, InvertedResidual, Mobile
from search.nets.net import Choice, Net, Part
from search.nets.resnet import AR50TO101, PHOTO, SMALL, Bottleneck, ResNet

NETS: dict[str, Net] = {
    net.name: net
    for net in (
        Mobile("mobile", SMALL_IMAGES),
        Mobile("mobile-photo", PHOTOS),
        ResNet(SMALL),
        ResNet(PHOTO),
        ResNet(AR50TO101),
        CELL,
    )
}

# Networks that are trained alone: no table holds their blocks, and no search looks at them.
HANDCRAFTED: dict[str, Handcrafted] = {net.name: net for net in (RESNETS, MOBILES)}
TRAINED: Mapping[str, Net] = ChainMap[str, Net](HANDCRAFTED, NETS)  # type: ignore[arg-type]

# What backbones are stacked of; a training may compute what lies within them again.
BLOCKS = (InvertedResidual, Bottleneck, Cell)

__all__ = [
    "BLOCKS",
    "HANDCRAFTED",
    "NETS",
    "TRAINED",
    "Backbone",
    "Choice",
    "Handcrafted",
    "Layers",
    "Net",
    "Part",
    "PlainLayers",
]
