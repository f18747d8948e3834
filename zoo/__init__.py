"""A model zoo whose models are found, not hand-made: ``zoo.get("data-mocov2-cls-1ms")``.

get (a name or a package -> Model) · search (images, device, budget -> package) ·
export (a package and a kind of device -> compared, timed artefacts) · list (what is here) ·
push, pull (to and from the Hub) · Model, ModelCard
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.catalogue.get import get, pull
    from zoo.catalogue.list import list_models as list
    from zoo.catalogue.model import Model
    from zoo.hub.push import push
    from zoo.make.search import search
    from zoo.types import ModelCard
    from zoo.use.export import export_package as export

    __version__: str

__all__ = ["Model", "ModelCard", "__version__", "export", "get", "list", "pull", "push", "search"]

# All of these need torch, which takes a second to import: they are imported when first used.
_LAZY = {
    "Model": ("zoo.catalogue.model", "Model"),
    "ModelCard": ("zoo.types", "ModelCard"),
    "export": ("zoo.use.export", "export_package"),
    "get": ("zoo.catalogue.get", "get"),
    "list": ("zoo.catalogue.list", "list_models"),
    "pull": ("zoo.catalogue.get", "pull"),
    "push": ("zoo.hub.push", "push"),
    "search": ("zoo.make.search", "search"),
}


def __getattr__(name: str) -> object:
    """Import the module behind a name."""
    if name == "__version__":
        from zoo.home import zoo_version

        return zoo_version()
    if name not in _LAZY:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    module, attribute = _LAZY[name]
    return getattr(importlib.import_module(module), attribute)
