"""A plot of a package's benchmark: milliseconds an image of every artefact, by threads and batch size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zoo.benchmark import Row
from zoo.plot import new_figure, save_figure


def plot_benchmark(rows: Sequence[Row], path: Path, *, title: str) -> Path:
    """Draw ``rows`` into ``path``, whose suffix is the format; returns ``path``.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    settings = list(dict.fromkeys((row.threads, row.batch) for row in rows))
    files = list(dict.fromkeys(row.file for row in rows))
    figure = new_figure(1.5 + 1.6 * len(settings), 3.6)
    axes = figure.add_subplot()
    width = 0.8 / len(files)
    for i, file in enumerate(files):
        own = {(row.threads, row.batch): row for row in rows if row.file == file}
        places = [(j + (i + 0.5) * width - 0.4, own[at]) for j, at in enumerate(settings) if at in own]
        heights = [row.median_ms / row.batch for _, row in places]
        spread = [(row.p90_ms - row.median_ms) / row.batch for _, row in places]
        bars = axes.bar([x for x, _ in places], heights, width=width, label=file, yerr=[[0] * len(spread), spread])
        axes.bar_label(bars, fmt="%.2f", fontsize=6)
    axes.set_xticks(range(len(settings)), [f"{threads} thread(s)\nbatch {batch}" for threads, batch in settings])
    axes.set_ylabel("ms an image (median; line to p90)")
    axes.set_title(title, fontsize=8, loc="left")
    axes.legend(fontsize=7, frameon=False)
    return save_figure(figure, path)
