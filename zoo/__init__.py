"""A model zoo whose models are found, not hand-made: ``zoo.get("data-mocov2-cls-1ms")``.

get (a name or a package -> Model) · search (images, device, budget -> package) · list (what is here) · Model, ModelCard
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.catalogue import get
    from zoo.listing import list_models as list
    from zoo.make import search
    from zoo.model import Model
    from zoo.types import ModelCard

    __version__: str

__all__ = ["Model", "ModelCard", "__version__", "get", "list", "search"]

# All of these need torch, which takes a second to import: they are imported when first used.
_LAZY = {
    "Model": ("zoo.model", "Model"),
    "ModelCard": ("zoo.types", "ModelCard"),
    "get": ("zoo.catalogue", "get"),
    "list": ("zoo.listing", "list_models"),
    "search": ("zoo.make", "search"),
}


def __getattr__(name: str) -> object:
    """Import the module behind a name."""
    if name == "__version__":
        from zoo.versions import zoo_version

        return zoo_version()
    if name not in _LAZY:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    module, attribute = _LAZY[name]
    return getattr(importlib.import_module(module), attribute)
