"""Self-supervised objectives."""

from search.objectives.byol import BYOL
from search.objectives.densecl import DenseCL
from search.objectives.matched import Matched
from search.objectives.moco import MoCo, info_nce
from search.objectives.objective import Network, Objective, Tensors
from search.objectives.ressl import ReSSL
from search.objectives.simclr import SimCLR, nt_xent

OBJECTIVES: dict[str, type[Objective]] = {
    "mocov2": MoCo,
    "densecl": DenseCL,
    "ressl": ReSSL,
    "byol": BYOL,
    "simclr": SimCLR,
}

__all__ = [
    "BYOL",
    "OBJECTIVES",
    "DenseCL",
    "Matched",
    "MoCo",
    "Network",
    "Objective",
    "ReSSL",
    "SimCLR",
    "Tensors",
    "info_nce",
    "nt_xent",
]
