"""Networks to judge exports by: cut from a bundled supernet where the net has one, else freshly drawn."""

import torch

from search.nets import NETS, Backbone
from search.recalibrate import recalibrate
from search.types import Architecture
from zoo.supernets import read_supernet, supernet_folders


def network(
    architecture: Architecture, images_NCHW: torch.Tensor, *, supernet: str | None = None, seed: int = 0
) -> Backbone:
    """The network with the statistics of the images."""
    asked = supernet or next((name for name in supernet_folders() if name.startswith(f"{architecture.net}-")), None)
    if asked is not None:
        backbone = read_supernet(asked).supernet.subnet(architecture)
    else:
        torch.manual_seed(seed)
        backbone = NETS[architecture.net].build(architecture)
        for part in backbone.modules():  # scales of 0 would leave nothing but the shortcuts
            if isinstance(part, torch.nn.BatchNorm2d) and not part.weight.any():
                torch.nn.init.constant_(part.weight, 0.5)
    recalibrate(backbone, torch.split(images_NCHW, 128))
    return backbone
