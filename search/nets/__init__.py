"""The nets by name."""

from search.nets.cell import CELL
from search.nets.cell_body import Cell
from search.nets.layers import Backbone, Layers, PlainLayers
from search.nets.mobile import PHOTOS, SMALL_IMAGES, InvertedResidual, Mobile
from search.nets.net import Choice, Net, Part
from search.nets.resnet import AR50TO101, SMALL, Bottleneck, ResNet

NETS: dict[str, Net] = {
    net.name: net
    for net in (
        Mobile("mobile", SMALL_IMAGES),
        Mobile("mobile-photo", PHOTOS),
        ResNet(SMALL),
        ResNet(AR50TO101),
        CELL,
    )
}

# What backbones are stacked of; a training may compute what lies within them again.
BLOCKS = (InvertedResidual, Bottleneck, Cell)

__all__ = ["BLOCKS", "NETS", "Backbone", "Choice", "Layers", "Net", "Part", "PlainLayers"]
