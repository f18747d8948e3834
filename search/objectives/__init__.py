"""Self-supervised objectives."""

from search.objectives.moco import MoCo, info_nce
from search.objectives.nt_xent import nt_xent

OBJECTIVES = {"mocov2": MoCo, "simclr": nt_xent}
# Those that train one network at a time.
SINGLE = ("simclr",)

__all__ = ["OBJECTIVES", "SINGLE", "MoCo", "info_nce", "nt_xent"]
