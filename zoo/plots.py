"""Plot: what all plots begin and end with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardware_profiles.errors import BadProfile
from hardware_profiles.replace_file import replaced
from hardware_profiles.types import LatencyTable
from search.nets.genotype import INPUTS, NODES, ROLES, Genotype
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
    import matplotlib as mpl

    # Without a date and a random salt the same figure gives the same bytes.
    date = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix)
    with replaced(path) as draft, mpl.rc_context({"svg.hashsalt": "subnet-zoo"}):
        figure.savefig(draft, format=path.suffix[1:], dpi=dpi, metadata=date)
    return path


# No clock's times of whole networks are met so well by a sum.
_EXACT_PERCENT = 0.1
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
    axes.set(xlabel=_truth(table), ylabel=f"predicted ms ({table.device.source})", xlim=limits, ylim=limits)
    axes.set_aspect("equal")
    axes.set_title(_title(table), fontsize=8, loc="left")
    return save_figure(figure, path)


def _truth(table: LatencyTable) -> str:
    """What the predictions are held against: no clock's time where what was published is itself a sum."""
    is_sum = table.validation is not None and table.validation.mape_percent < _EXACT_PERCENT
    return "published ms (sums of block times)" if is_sum and table.device.source != "measured" else "measured ms"


def _title(table: LatencyTable) -> str:
    title = f"{table.device.id}: {table.net} at {table.resolution_px} px, {len(table.checks)} unseen networks"
    figures = table.validation
    if figures is None:
        return title
    return f"{title}\nmean error {figures.mape_percent:.2f} %, Kendall tau {figures.kendall_tau:.3f}; gray: within 10 %"


CURVE_PNG, VALIDATION_PNG = "curve.png", "validation.png"


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


def plot_validation(validation: Mapping[str, Any], path: Path, *, title: str) -> None:
    """Draw a training's ``validation``, linear accuracy against the images seen, into ``path``, a line a network.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    figure = new_figure(5.5, 3.5)
    axes = figure.add_subplot(xlabel="images seen", ylabel="linear accuracy, %", title=title)
    columns, rows = validation["columns"], validation["rows"]
    for role in ("largest", "smallest"):
        i = columns.index(f"linear_{role}")
        if rows and rows[0][i] is not None:
            seen = [row[columns.index("images")] for row in rows]
            axes.plot(seen, [100 * row[i] for row in rows], "o-", label=role, linewidth=1.2, markersize=3)
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
    axes = figure.add_subplot(xlabel="predicted ms", ylabel="score (without your labels)")
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


# Where a cell's nodes stand: two inputs, four intermediate nodes, the output. An arrow for an operation has its color.
_NODES = ((0.0, 0.8), (0.0, 0.2), (1.3, 0.95), (2.2, 0.05), (3.1, 0.95), (4.0, 0.05), (5.2, 0.5))
_NODE_NAMES = ("two cells before", "cell before", "0", "1", "2", "3", "output")
_TALL = 1.3  # a unit upwards is that many to the right, on paper
_OP_COLORS = {"skip": "#6b6b6b", "max_": "#c44e52", "avg_": "#d07a3c", "sep_": "#4c72b0", "dil_": "#3f8f56"}


def plot_cell(genotype: Genotype, path: Path) -> None:
    """A genotype as a picture, its normal cell above its reduction cell; data runs from left to right.

    The same genotype gives the same bytes.
    """
    figure = new_figure(9.6, 6.2)
    for axes, role in zip(figure.subplots(2, 1), ROLES, strict=True):
        axes.set_title("normal cell" if role == "normal" else "reduction cell", loc="left")
        axes.set(xlim=(-0.5, 5.6), ylim=(-0.15, 1.15))
        axes.axis("off")
        for i, (op, source) in enumerate(genotype.slots(role)):
            node = INPUTS + i // 2
            (x0, y0), (x1, y1) = _NODES[source], _NODES[node]
            bend = 0.2 if i % 2 else -0.2  # a node's two arrows part, though both come from one node
            style = {"arrowstyle": "-|>", "color": _OP_COLORS[op[:4]], "connectionstyle": f"arc3,rad={bend}"}
            axes.annotate("", (x1, y1), (x0, y0), arrowprops=style | {"shrinkA": 14, "shrinkB": 12})
            # On the arc, a quadratic curve, nearer to its source for one of the two so that names do not meet.
            share = 0.62 if i % 2 else 0.38
            cx = (x0 + x1) / 2 + bend * (y1 - y0) * _TALL
            cy = (y0 + y1) / 2 - bend * (x1 - x0) / _TALL
            weights = ((1 - share) ** 2, 2 * share * (1 - share), share**2)
            at = tuple(sum(w * v for w, v in zip(weights, vs, strict=True)) for vs in ((x0, cx, x1), (y0, cy, y1)))
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
            axes.text(*at, op, fontsize=7, color=style["color"], ha="center", va="center", bbox=box)
        for node in range(INPUTS, INPUTS + NODES):
            axes.annotate("", _NODES[-1], _NODES[node], arrowprops={"arrowstyle": "-", "color": "#cccccc"}, zorder=0)
        for at, name in zip(_NODES, _NODE_NAMES, strict=True):
            axes.text(*at, name, fontsize=9, ha="center", va="center", bbox={"facecolor": "white", "pad": 4})
    save_figure(figure, path, dpi=100)


def front_text(
    scored: Sequence[tuple[float, float]],
    front: Sequence[tuple[float, float]],
    pick: tuple[float, float] | None,
    *,
    width: int = 80,
    height: int = 14,
) -> str:
    """A search for a terminal: score against milliseconds, in characters.

    Args:
        scored: (ms, score) of all networks.
        front: of the best ones.
        pick: the network that was taken.
        width: of a line, in characters.
        height: in lines, with the axes.
    """
    import plotext

    figure = plotext.figure
    figure.clear()
    figure.plot_size(width, height)
    for points, marker in ((scored, "."), (front, "o"), ([] if pick is None else [pick], "X")):
        if points:
            figure.draw(figure.signal([ms for ms, _ in points], [score for _, score in points], marker=marker))
    figure.label("predicted ms   (. scored, o best for its time, X this network)")
    text = plotext.uncolorize(str(figure.build()))
    return "\n".join(line.rstrip() for line in text.splitlines())
