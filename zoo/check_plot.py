"""A plot of predicted against measured milliseconds, for the networks that validated a latency table."""

from __future__ import annotations

from pathlib import Path

from hardware_profiles.errors import BadProfile
from hardware_profiles.types import LatencyTable
from zoo.plot import new_figure, save_figure

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
