"""The nets by name."""

from search.nets.cell import CELL
from search.nets.layers import Backbone, Layers, PlainLayers
from search.nets.mobile import PHOTOS, SMALL_IMAGES, Mobile
from search.nets.net import Choice, Net, Part
from search.nets.resnet import AR50TO101, SMALL, ResNet

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

__all__ = ["NETS", "Backbone", "Choice", "Layers", "Net", "Part", "PlainLayers"]
