"""Plot: what all plots begin and end with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardware_profiles.errors import BadProfile
from hardware_profiles.types import LatencyTable
from search.types import SearchResult
from zoo.errors import BadName, MissingExtra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")


def check_plot(path: Path) -> None:
    """Refuse what ``save_figure`` could not write, before the work that is to be drawn.

    Raises:
        BadName: a suffix other than png, svg or pdf, or no such folder.
        MissingExtra: matplotlib is not installed.
    """
    if not path.parent.is_dir():
        raise BadName(f"{path.parent} is no folder; make it, or name a plot in another one")
    if path.suffix not in SUFFIXES:
        raise BadName(f"{path.name} does not end in {', '.join(SUFFIXES)}; name the plot's format by its suffix")
    new_figure(1, 1)


def new_figure(width_in: float, height_in: float) -> Figure:
    """An empty figure, in inches.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # a Figure of its own: no window, no global state
    except ModuleNotFoundError:
        raise MissingExtra('a plot needs matplotlib; pip install "subnet-zoo[search]"') from None
    return Figure(figsize=(width_in, height_in), layout="constrained")


def save_figure(figure: Figure, path: Path, *, dpi: int = 160) -> Path:
    """Write a figure in one step, in the format that the suffix names; returns ``path``."""
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        figure.savefig(partial, dpi=dpi)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


_INK, _DOTS = "#333333", "#1f6f8b"


def plot_checks(table: LatencyTable, path: Path) -> Path:
    """Draw the table's ``checks`` into ``path``, whose suffix (png, svg or pdf) is the format; returns ``path``.

    Raises:
        BadProfile: the table holds no checks.
        MissingExtra: matplotlib is not installed.
    """
    if not table.checks:
        raise BadProfile(f"the table of {table.device.id} holds no networks to plot; fit or measure it again")
    measured = [check.measured_ms for check in table.checks]
    predicted = [check.predicted_ms for check in table.checks]
    low, high = min(*measured, *predicted), max(*measured, *predicted)
    figure = new_figure(4.8, 5.0)
    axes = figure.add_subplot()
    axes.plot([low, high], [low, high], color=_INK, linewidth=0.8)
    axes.fill_between(
        [low, high], [0.9 * low, 0.9 * high], [1.1 * low, 1.1 * high], color=_INK, alpha=0.08, linewidth=0
    )
    axes.plot(measured, predicted, "o", color=_DOTS, markersize=3, alpha=0.7)
    room = 0.04 * (high - low) or 0.04 * high
    limits = (low - room, high + room)
    axes.set(xlabel="measured ms", ylabel=f"predicted ms ({table.device.source})", xlim=limits, ylim=limits)
    axes.set_aspect("equal")
    axes.set_title(_title(table), fontsize=8, loc="left")
    return save_figure(figure, path)


def _title(table: LatencyTable) -> str:
    title = f"{table.device.id}: {table.net} at {table.resolution_px} px, {len(table.checks)} unseen networks"
    figures = table.validation
    if figures is None:
        return title
    return f"{title}\nmean error {figures.mape_percent:.2f} %, Kendall tau {figures.kendall_tau:.3f}; gray: within 10 %"


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
