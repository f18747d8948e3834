"""Plot: the loss curve of a supernet's card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.plot import new_figure, save_figure

CURVE_PNG = "curve.png"


def plot_curve(curve: Mapping[str, Any], path: Path, *, title: str) -> None:
    """Draw ``search.curve.loss_curve`` into ``path`` (PNG, SVG or PDF by its suffix), a line a network.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    figure = new_figure(5.5, 3.5)
    axes = figure.add_subplot(xlabel=f"step ({curve['note']})", ylabel="loss", title=title)
    steps = [row[0] for row in curve["rows"]]
    for i, name in enumerate(curve["columns"][1:], start=1):
        losses = [float("nan") if row[i] is None else row[i] for row in curve["rows"]]
        if any(loss == loss for loss in losses):
            axes.plot(steps, losses, label=name.removeprefix("loss_"), linewidth=1.2)
    axes.legend()
    axes.grid(alpha=0.3)
    save_figure(figure, path, dpi=100)
