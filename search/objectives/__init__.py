"""Self-supervised objectives."""

from search.objectives.moco import MoCo, info_nce

__all__ = ["MoCo", "info_nce"]
