"""Plot: score against predicted milliseconds, one color a device; its front is a line, its winner a ring."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from search.types import SearchResult
from zoo.plot import new_figure, save_figure


def plot_fronts(results: Sequence[SearchResult], path: Path, *, sources: Sequence[str]) -> None:
    """Draw the searches into ``path`` (PNG, SVG or PDF by its suffix).

    Args:
        results: one a device.
        path: the picture; its folder exists.
        sources: where each device's table comes from, for the legend.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    figure = new_figure(7, 4.5)
    axes = figure.add_subplot(xlabel="predicted ms", ylabel="score: agreement with the largest network")
    for i, (result, source) in enumerate(zip(results, sources, strict=True)):
        color = f"C{i}"
        axes.scatter(
            [c.predicted_ms for c in result.evaluated],
            [c.score for c in result.evaluated],
            s=8,
            alpha=0.4,
            color=color,
            linewidths=0,
        )
        axes.plot(
            [c.predicted_ms for c in result.front],
            [c.score for c in result.front],
            marker=".",
            color=color,
            label=f"{result.device_id} ({source})",
        )
        best = result.best
        axes.scatter([best.predicted_ms], [best.score], s=90, facecolors="none", edgecolors=color, linewidths=1.5)
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    save_figure(figure, path, dpi=150)
