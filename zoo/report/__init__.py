"""Report: pages to look at. One HTML file each, which needs no network.

write (packages -> page) · facts (what a package's files tell) · charts (Vega-Lite specifications) · pictures (what a
network makes of the user's images) · sections · page (the file)

``vega.js`` is Vega, Vega-Lite and vega-embed (BSD-3-Clause) in one file, made by ``make vega``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any


class _Called(ModuleType):
    """Python puts this folder in place of the function ``zoo.report`` as soon as a file of it is imported."""

    def __call__(self, *packages: str | Path, **options: Any) -> Path:
        """As ``zoo.report.write.report``."""
        from zoo.checks import checked
        from zoo.report.write import report

        return checked(report)(*packages, **options)


sys.modules[__name__].__class__ = _Called
