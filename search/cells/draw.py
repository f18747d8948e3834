"""Draw cell: a genotype as a picture, its normal cell above its reduction cell; data runs from left to right."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from PIL import Image, ImageDraw, ImageFont

from search.errors import WriteFailed
from search.nets.genotype import INPUTS, NODES, ROLES, Genotype, Slot

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


Point = tuple[float, float]
_FINER = 4  # a PNG is drawn so many times larger than the sketch and then made smaller: Pillow does not smooth lines
_PNG_SCALE = 2
_HEAD_PX, _LINE_PX, _PAD_PX = 9, 1.6, 6


@dataclass(frozen=True, kw_only=True)
class Arrow:
    """From ``start`` to ``end`` by way of ``control`` (a quadratic Bezier curve), in pixels."""

    start: Point
    control: Point
    end: Point
    color: str

    def point(self, share: float) -> Point:
        """Where a ``share`` of the way is done."""
        a, b, c = (1 - share) ** 2, 2 * share * (1 - share), share**2
        x, y = (a * p + b * q + c * r for p, q, r in zip(self.start, self.control, self.end, strict=True))
        return (x, y)

    def head(self) -> tuple[Point, Point, Point]:
        """The triangle at its end."""
        (x, y), (cx, cy) = self.end, self.control
        away = math.hypot(x - cx, y - cy) or 1.0
        dx, dy = _HEAD_PX * (x - cx) / away, _HEAD_PX * (y - cy) / away
        return self.end, (x - dx - 0.4 * dy, y - dy + 0.4 * dx), (x - dx + 0.4 * dy, y - dy - 0.4 * dx)


@dataclass(frozen=True, kw_only=True)
class Words:
    """Text around ``at``, ``px`` high, on white; ``boxed`` draws a frame around it."""

    at: Point
    text: str
    px: int
    color: str = "#000000"
    boxed: bool = False


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """Arrows below, words above; ``size`` is width and height in pixels."""

    size: tuple[int, int]
    arrows: tuple[Arrow, ...]
    words: tuple[Words, ...]


def write_sketch(sketch: Sketch, path: Path) -> None:
    """Write it in one step.

    Raises:
        ValueError: the suffix is neither .png nor .svg.
        WriteFailed: the disk is full, for instance.
    """
    if path.suffix not in _FORMATS:
        raise ValueError(f"{path.name} is neither .png nor .svg; name it so")
    content = _FORMATS[path.suffix](sketch)
    temporary = path.with_name(f".writing-{path.name}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise WriteFailed(f"{path} cannot be written ({error.strerror}); free some space") from error
    finally:
        temporary.unlink(missing_ok=True)


def _png(sketch: Sketch) -> bytes:
    scale = _FINER * _PNG_SCALE
    image = Image.new("RGB", (scale * sketch.size[0], scale * sketch.size[1]), "white")
    pen = ImageDraw.Draw(image)
    for arrow in sketch.arrows:
        curve = [_scaled(arrow.point(i / 48), scale) for i in range(49)]
        pen.line(curve, fill=arrow.color, width=round(_LINE_PX * scale), joint="curve")
        pen.polygon([_scaled(corner, scale) for corner in arrow.head()], fill=arrow.color)
    for words in sketch.words:
        font = ImageFont.load_default(scale * words.px)
        x, y = _scaled(words.at, scale)
        left, top, right, bottom = pen.textbbox((x, y), words.text, font=font, anchor="mm")
        pad = scale * (_PAD_PX if words.boxed else 1)
        frame = (left - pad, top - pad, right + pad, bottom + pad)
        outline = words.color if words.boxed else "white"
        pen.rounded_rectangle(frame, radius=scale * 4, fill="white", outline=outline, width=round(1.2 * scale))
        pen.text((x, y), words.text, fill=words.color, font=font, anchor="mm")
    small = image.resize((_PNG_SCALE * sketch.size[0], _PNG_SCALE * sketch.size[1]), Image.Resampling.BOX)
    file = io.BytesIO()
    small.quantize(64).save(file, "PNG", optimize=True)
    return file.getvalue()


def _svg(sketch: Sketch) -> bytes:
    width, height = sketch.size
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">']
    lines.append(f'<rect width="{width}" height="{height}" fill="white"/>')
    for arrow in sketch.arrows:
        start, control, end = (_text(point) for point in (arrow.start, arrow.control, arrow.end))
        path = f"M {start} Q {control} {end}"
        lines.append(f'<path d="{path}" fill="none" stroke="{arrow.color}" stroke-width="{_LINE_PX}"/>')
        corners = " ".join(_text(corner) for corner in arrow.head())
        lines.append(f'<polygon points="{corners}" fill="{arrow.color}"/>')
    for words in sketch.words:
        (x, y), wide, high = words.at, 0.56 * words.px * len(words.text), 1.1 * words.px
        pad = _PAD_PX if words.boxed else 0
        frame = f'x="{x - wide / 2 - pad:.1f}" y="{y - high / 2 - pad:.1f}" width="{wide + 2 * pad:.1f}"'
        outline = words.color if words.boxed else "none"
        lines.append(f'<rect {frame} height="{high + 2 * pad:.1f}" rx="4" fill="white" stroke="{outline}"/>')
        middle = 'text-anchor="middle" dominant-baseline="central"'
        lines.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{words.px}" fill="{words.color}" {middle}>'
            f"{escape(words.text)}</text>"
        )
    return "\n".join([*lines, "</svg>", ""]).encode()


def _scaled(point: Point, scale: int) -> Point:
    return (scale * point[0], scale * point[1])


def _text(point: Point) -> str:
    return f"{point[0]:.1f},{point[1]:.1f}"


_FORMATS: dict[str, Callable[[Sketch], bytes]] = {".png": _png, ".svg": _svg}
