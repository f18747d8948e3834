"""A model zoo whose models are found, not hand-made: ``zoo.get("data-mocov2-cls-1ms")``.

Make: search (images, device, budget -> package) · pretrain (a supernet) · darts (cells)
Have: get (a name or a package -> Model) · list (what is here) · push, pull (to and from the Hub)
Labels: finetune (a whole model) · evaluate · predict
Use: export (artefacts for a device) · benchmark · report (a page) · devices (latency tables)
"""

# ruff: noqa: F401 - __getattr__ offers what is imported here for type checkers.

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo import devices as devices
    from zoo.catalogue.get import get as get
    from zoo.catalogue.get import pull as pull
    from zoo.catalogue.list import list_models as list
    from zoo.catalogue.model import Model as Model
    from zoo.hub.push import push as push
    from zoo.make.darts import darts as darts
    from zoo.make.pretrain import pretrain as pretrain
    from zoo.make.search import search as search
    from zoo.report.write import report as report
    from zoo.types import ModelCard as ModelCard
    from zoo.use.benchmark import benchmark as benchmark
    from zoo.use.evaluate import evaluate as evaluate
    from zoo.use.export import export_package as export
    from zoo.use.finetune import finetune as finetune
    from zoo.use.predict import predict as predict

    __version__: str

# Most of these need torch, which takes a second to import: they are imported when first used.
_WHERE = {
    "Model": "zoo.catalogue.model.Model",
    "ModelCard": "zoo.types.ModelCard",
    "__version__": "zoo.home.zoo_version",
    "benchmark": "zoo.use.benchmark.benchmark",
    "darts": "zoo.make.darts.darts",
    "devices": "zoo.devices",
    "evaluate": "zoo.use.evaluate.evaluate",
    "export": "zoo.use.export.export_package",
    "finetune": "zoo.use.finetune.finetune",
    "get": "zoo.catalogue.get.get",
    "list": "zoo.catalogue.list.list_models",
    "predict": "zoo.use.predict.predict",
    "pretrain": "zoo.make.pretrain.pretrain",
    "pull": "zoo.catalogue.get.pull",
    "push": "zoo.hub.push.push",
    "report": "zoo.report.write.report",
    "search": "zoo.make.search.search",
}
__all__ = [*_WHERE]


def __getattr__(name: str) -> Any:
    """Import what is behind a name; the version is read when it is asked for."""
    if name not in _WHERE:
        from difflib import get_close_matches

        near = f"; nearest: {', '.join(found)}" if (found := get_close_matches(name, _WHERE, 3)) else ""
        raise AttributeError(f"module 'zoo' has no attribute {name!r}{near}")
    if name == "devices":
        return importlib.import_module(_WHERE[name])
    module, _, attribute = _WHERE[name].rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        from zoo.shadowed import shadowed

        if (told := shadowed()) is None:
            raise
        raise ImportError(told) from error
    if name == "__version__":
        return found()
    if isinstance(found, type):
        return found
    from zoo.checks import checked

    return globals().setdefault(name, checked(found))  # one object, however often it is asked for


def __dir__() -> Sequence[str]:
    """The surface, whatever rooms have been imported."""
    return sorted(_WHERE)
