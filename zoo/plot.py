"""Plot: what all plots begin and end with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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
