"""Draw cell: a genotype as a picture, its normal cell above its reduction cell; data runs from left to right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from search.genotype import INPUTS, NODES, ROLES, Genotype, Slot
from search.sketch import Arrow, Point, Sketch, Words, write_sketch

_SIZE = (960, 620)
_NAMES = ("two cells before", "cell before", *map(str, range(NODES)), "output")
# Where the nodes of the upper cell stand.
_AT = ((75, 110), (75, 225), (290, 85), (430, 250), (570, 85), (710, 250), (890, 168))
_HALF = ((56, 15), (42, 15), *((13, 15),) * NODES, (30, 15))  # width and height of their boxes, halved
_OUTPUT = len(_AT) - 1
_LOWER_PX = 310
_COLORS = {"skip": "#6b6b6b", "max_": "#c44e52", "avg_": "#d07a3c", "sep_": "#4c72b0", "dil_": "#3f8f56"}
_BLACK, _GRAY = "#000000", "#cccccc"
_BEND = 0.13  # of an arrow's length; of a node's two arrows the upper one bends up, the other down
_CLEAR_PX = 3
_SHARES = (0.5, 0.42, 0.58, 0.34, 0.66, 0.26)  # of an arrow, where its name may stand
_NAME_PX = (90, 18)


def draw_cell(genotype: Genotype, path: Path) -> None:
    """Write a PNG or SVG, by the suffix; the same genotype gives the same bytes.

    Raises:
        ValueError: another suffix.
        WriteFailed: the disk is full, for instance.
    """
    arrows: list[Arrow] = []
    words: list[Words] = []
    for i, role in enumerate(ROLES):
        down = i * _LOWER_PX
        words.append(Words(at=(90, 25 + down), text="normal cell" if role == "normal" else "reduction cell", px=17))
        edges = _edges(genotype.slots(role), down)
        arrows += [arrow for arrow, _ in edges]
        arrows += [_arrow(INPUTS + node, _OUTPUT, down, _GRAY, bend=0.0) for node in range(NODES)]
        places = zip(_AT, _NAMES, strict=True)
        nodes = [Words(at=(x, y + down), text=name, px=13, boxed=True) for (x, y), name in places]
        words += [*_names(edges, [node.at for node in nodes]), *nodes]
    write_sketch(Sketch(size=_SIZE, arrows=tuple(arrows), words=tuple(words)), path)


def _edges(slots: tuple[Slot, ...], down: int) -> list[tuple[Arrow, str]]:
    """An arrow for each operation."""
    edges = []
    for i, (op, source) in enumerate(slots):
        target = INPUTS + i // INPUTS
        other = slots[i + 1 - 2 * (i % INPUTS)][1]
        bend = _BEND if (_AT[source][1], source) < (_AT[other][1], other) else -_BEND
        edges.append((_arrow(source, target, down, _COLORS[op[:4]], bend=bend), op))
    return edges


def _names(edges: Sequence[tuple[Arrow, str]], taken: Sequence[Point]) -> Iterator[Words]:
    """The operations' names, each where its arrow is furthest from all that is written already."""
    taken = list(taken)
    for arrow, op in edges:
        at = max((arrow.point(share) for share in _SHARES), key=lambda point: min(_apart(point, o) for o in taken))
        taken.append(at)
        yield Words(at=at, text=op, px=11, color=arrow.color)


def _apart(a: Point, b: Point) -> float:
    """Of two names, in sizes of a name; from 1 on they do not touch, and more than that is no better."""
    return min(1.0, max(abs(a[0] - b[0]) / _NAME_PX[0], abs(a[1] - b[1]) / _NAME_PX[1]))


def _arrow(source: int, target: int, down: int, color: str, *, bend: float) -> Arrow:
    (x0, y0), (x1, y1) = ((x, y + down) for x, y in (_AT[source], _AT[target]))
    control = ((x0 + x1) / 2 + bend * (y1 - y0), (y0 + y1) / 2 - bend * (x1 - x0))
    start = _outside((x0, y0), control, _HALF[source])
    return Arrow(start=start, control=control, end=_outside((x1, y1), control, _HALF[target]), color=color)


def _outside(node: Point, other: Point, half: tuple[int, int]) -> Point:
    """The point just outside a node's box on the way to another point."""
    dx, dy = other[0] - node[0], other[1] - node[1]
    share = min((half[0] + _CLEAR_PX) / max(abs(dx), 1e-9), (half[1] + _CLEAR_PX) / max(abs(dy), 1e-9))
    return (node[0] + share * dx, node[1] + share * dy)
