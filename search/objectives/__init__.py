"""Self-supervised objectives."""

from search.objectives.moco import MoCo, info_nce

OBJECTIVES = {"mocov2": MoCo}

__all__ = ["OBJECTIVES", "MoCo", "info_nce"]
