"""Sketch: a picture of bent arrows and words, as PNG or SVG, with nothing but Pillow, so that every package has one."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from PIL import Image, ImageDraw, ImageFont

from search.errors import WriteFailed

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
