"""Draw cell: a genotype as a picture, its normal cell above its reduction cell, in any format of matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from search.errors import WriteFailed
from search.genotype import INPUTS, NODES, ROLES, Genotype, Slot

_NAMES = ("two cells before", "cell before", *map(str, range(NODES)), "output")
# Where a node stands: x, y; edges run from left to right.
_AT = ((0.0, 1.0), (0.0, 0.0), (1.6, 1.15), (2.9, -0.25), (4.2, 1.15), (5.5, -0.25), (7.0, 0.5))
_OUTPUT = len(_AT) - 1
_COLORS = {"skip": "#7f7f7f", "max": "#c44e52", "avg": "#dd8452", "sep": "#4c72b0", "dil": "#55a868"}


def draw_cell(genotype: Genotype, path: Path) -> None:
    """Write the picture; its suffix decides the format, and the same genotype gives the same bytes.

    Raises:
        WriteFailed: the disk is full, for instance.
    """
    from matplotlib import rc_context  # only those who draw need it
    from matplotlib.figure import Figure

    # An SVG's identifiers and date would differ each time.
    with rc_context({"svg.hashsalt": "cell", "font.size": 9}):
        figure = Figure(figsize=(9, 5.4), layout="constrained")
        for role, axes in zip(ROLES, figure.subplots(len(ROLES), 1), strict=True):
            _draw(axes, genotype.slots(role), "normal cell" if role == "normal" else "reduction cell")
        temporary = path.with_name(f".writing-{path.name}")
        try:
            figure.savefig(temporary, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else {})
            temporary.replace(path)
        except OSError as error:
            raise WriteFailed(f"{path} cannot be written ({error.strerror}); free some space") from error
        finally:
            temporary.unlink(missing_ok=True)


def _draw(axes: Any, slots: tuple[Slot, ...], title: str) -> None:
    axes.set_title(title, loc="left")
    axes.set_xlim(-0.8, 7.6)
    axes.set_ylim(-0.8, 1.7)
    axes.axis("off")
    for i, (op, source) in enumerate(slots):
        _edge(axes, source, INPUTS + i // INPUTS, op)
    for node in range(NODES):
        _edge(axes, INPUTS + node, _OUTPUT, None)
    for (x, y), name in zip(_AT, _NAMES, strict=True):
        box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": "black"}
        axes.text(x, y, name, ha="center", va="center", bbox=box, zorder=3)


def _edge(axes: Any, source: int, target: int, op: str | None) -> None:
    """An arrow; a named one bends, so that its name and its neighbors' stand apart."""
    (x0, y0), (x1, y1) = _AT[source], _AT[target]
    color = "#cccccc" if op is None else _COLORS[op[:3] if op[:4] != "skip" else "skip"]
    bend = 0.0 if op is None else 0.12 * (1 if (source + target) % 2 else -1)
    arrow = {"arrowstyle": "-|>", "color": color, "connectionstyle": f"arc3,rad={bend}", "shrinkA": 14, "shrinkB": 12}
    axes.annotate("", (x1, y1), (x0, y0), arrowprops=arrow)
    if op is not None:
        share = 0.5 if source >= INPUTS else 0.5 + 0.06 * (target - INPUTS)
        x, y = x0 + share * (x1 - x0) + bend * (y1 - y0) / 2, y0 + share * (y1 - y0) - bend * (x1 - x0) / 2
        axes.text(x, y, op, color=color, fontsize=7, ha="center", va="center", zorder=4, bbox=_HALO)


_HALO = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85}
