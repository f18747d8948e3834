"""Supernets that learn from unlabelled images, and the networks found in them.

types (the values) · images, views, leaves (what is looked at) · nets (the families) · objectives, recipes, oneshot
(train a supernet) · supernet, calibrate (take a network out of it) · scores, costs, find (choose one) · evaluate
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from search.errors import BadSupernet as BadSupernet
from search.errors import InfeasibleBudget as InfeasibleBudget
from search.errors import NotEnoughImages as NotEnoughImages
from search.errors import SearchError as SearchError
from search.errors import TrainingError as TrainingError
from search.types import Architecture as Architecture
from search.types import Budget as Budget
from search.types import Candidate as Candidate
from search.types import SearchResult as SearchResult
from search.types import Task as Task

if TYPE_CHECKING:
    from search.images.read import ImageSet as ImageSet
    from search.images.read import read_images as read_images
    from search.images.synthesize import dead_leaves as dead_leaves
    from search.nets import NETS as NETS
    from search.supernet import Supernet as Supernet
    from search.supernet import SupernetCard as SupernetCard
    from search.supernet import load_supernet as load_supernet
    from search.supernet import save_supernet as save_supernet

# These need torch, which is imported when the name is first used.
_LAZY = {
    "ImageSet": "search.images.read",
    "NETS": "search.nets",
    "Supernet": "search.supernet",
    "SupernetCard": "search.supernet",
    "dead_leaves": "search.images.synthesize",
    "load_supernet": "search.supernet",
    "read_images": "search.images.read",
    "save_supernet": "search.supernet",
}


def __getattr__(name: str) -> object:
    """Import the module behind a heavy name."""
    if name not in _LAZY:
        raise AttributeError(f"module 'search' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
