"""Predict: what a whole model sees in pictures, drawn on them and written as JSON."""

# ruff: noqa: N806 - a tensor's name ends in its shape.

from __future__ import annotations

import colorsys
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from search.images.read import is_image, open_picture, upright
from zoo.catalogue.locate import locate
from zoo.checks import Share
from zoo.errors import BadRequest, UnreadableImage
from zoo.heads.predictions import Prediction
from zoo.heads.predictions import predict as predict_each
from zoo.package.folder import load_package
from zoo.package.staging import staged
from zoo.progress import Watch, watching
from zoo.types import Say, tell
from zoo.use.score import running, whole_of

PREDICTIONS = "predictions.json"
# An eye tells neighbors apart when hues are this part of a turn apart: the golden ratio; every third is as bright.
_HUE_STEP = 0.618
_MASK_SHARE = 0.5
# A picture whose longer side is shorter is drawn this large, about.
_LEAST_SHOWN_PX = 640


def predict(
    package: str | Path,
    pictures: Sequence[str | Path],
    *,
    out: str | Path | None = None,
    artefact: str = "torch",
    min_score: Share = 0.3,
    overwrite: bool = False,
    progress: Watch = "auto",
    say: Say = tell,
) -> list[Prediction]:
    """What a whole model sees in pictures, in the pixels of each.

    Args:
        package: a folder or a name.
        pictures: files, or folders of them.
        out: a new folder for the pictures with what was seen drawn on them, and ``predictions.json``.
        artefact: ``torch``, ``onnx``, ``fp16`` or ``int8``.
        min_score: boxes below it are left out.
        overwrite: replace an earlier result.
        progress: ``auto`` (bars or lines, as fits), None, or a function called with (stage, done, all).
        say: receives one line for each thing that happened.

    Raises:
        BadRequest: no head, no such artefact, or no picture.
        UnreadableImage: a picture that cannot be decoded; nothing is written.
    """
    progress = watching(progress)
    files = [file for one in pictures for file in _files(Path(one))]
    if not files:
        raise BadRequest(
            f"no image in {', '.join(map(str, pictures)) or 'nothing'}; name image files or folders of them"
        )
    ready = load_package(locate(package, say=say, progress=progress))
    head = whole_of(ready)
    found = []
    with running(ready, artefact) as run:
        for one in predict_each(run, head, ready.card.preprocess, files):
            found.append(_confident(one, min_score))
            progress("predict", len(found), len(files))
    if out is not None:
        with staged(Path(out), mark=PREDICTIONS, overwrite=overwrite) as draft:
            names = list(_names(files))
            for one, name in zip(found, names, strict=True):
                draw(one).save(draft / name)
                if one.mask_HW is not None:
                    Image.fromarray(one.mask_HW).save(draft / f"{Path(name).stem}.mask.png")
            rows = [{"drawn": name, **document(one)} for one, name in zip(found, names, strict=True)]
            text = json.dumps({"model": ready.card.name, "artefact": artefact, "pictures": rows}, indent=1)
            (draft / PREDICTIONS).write_text(text + "\n", "utf-8")
    return found


def document(one: Prediction) -> dict[str, Any]:
    """A prediction as plain values for JSON; of a mask the share of each class."""
    rows: dict[str, Any] = {"source": one.source, "width_px": one.size_px[0], "height_px": one.size_px[1]}
    if one.classes:
        rows["classes"] = [{"name": name, "share": round(share, 5)} for name, share in one.classes]
    elif one.mask_HW is not None:
        shares = np.bincount(one.mask_HW.ravel(), minlength=len(one.names)) / one.mask_HW.size
        rows["classes"] = {one.names[k]: round(float(shares[k]), 5) for k in np.flatnonzero(shares)}
    else:
        rows["boxes"] = [
            {
                "name": box.name,
                "score": round(box.score, 5),
                "box_px": [round(side, 2) for side in (box.x0_px, box.y0_px, box.x1_px, box.y1_px)],
            }
            for box in one.boxes
        ]
    return rows


def draw(one: Prediction) -> Image.Image:
    """The picture with its boxes, its mask or its class on it; a small one is enlarged, so that names can be read."""
    with open_picture(one.source) as opened:
        image = upright(opened)
    scale = max(1, round(_LEAST_SHOWN_PX / max(image.size)))
    size = image.width * scale, image.height * scale
    image = image.resize(size, Image.Resampling.BILINEAR)
    if one.mask_HW is not None:
        palette_K3 = np.array([_color(k) for k in range(len(one.names))], np.uint8)
        mask = Image.fromarray(palette_K3[one.mask_HW]).resize(size, Image.Resampling.NEAREST)
        seen = sorted(np.unique(one.mask_HW).tolist())
        return _with_legend(Image.blend(image, mask, _MASK_SHARE), [(one.names[k], _color(k)) for k in seen])
    pen = ImageDraw.Draw(image)
    pen.font = ImageFont.load_default(max(12, min(size) / 45))
    for box in reversed(one.boxes):  # the best one on top
        color = _color(one.names.index(box.name))
        corners = [scale * side for side in (box.x0_px, box.y0_px, box.x1_px, box.y1_px)]
        pen.rectangle(corners, outline=color, width=max(1, round(min(size) / 240)))
        _label(pen, (corners[0], corners[1]), f"{box.name} {100 * box.score:.0f}", color)
    if one.classes:
        name, share = one.classes[0]
        _label(pen, (0, 0), f"{name} {100 * share:.0f} %", _color(one.names.index(name)))
    return image


def _label(pen: ImageDraw.ImageDraw, at: tuple[float, float], text: str, color: tuple[int, int, int]) -> None:
    """On top of a box, or inside where the picture ends."""
    x, y = at
    _, _, _, low = pen.textbbox((0, 0), text)
    at = x, y - low if y >= low else y
    pen.rectangle(pen.textbbox(at, text), fill=color)
    pen.text(at, text, fill="black")


def _with_legend(image: Image.Image, names: Sequence[tuple[str, tuple[int, int, int]]]) -> Image.Image:
    """The picture, and below it names on their colors, in as many rows as they need."""
    height = max(12, min(image.size) / 45)
    font, row, gap = ImageFont.load_default(height), round(1.5 * height), round(0.5 * height)
    places, x, y = [], gap, 0
    for name, color in names:
        width = round(font.getlength(name)) + gap
        if x > gap and x + width > image.width:
            x, y = gap, y + row
        places.append((x, y, width, name, color))
        x += width + gap
    found = Image.new("RGB", (image.width, image.height + y + row), "white")
    found.paste(image)
    pen = ImageDraw.Draw(found)
    for x, y, width, name, color in places:
        top = image.height + y
        pen.rectangle((x, top + 1, x + width, top + row - 2), fill=color)
        pen.text((x + gap / 2, top), name, fill="black", font=font)
    return found


def _color(label: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(label * _HUE_STEP % 1, 0.75, (1.0, 0.6, 0.8)[label % 3])
    return round(255 * red), round(255 * green), round(255 * blue)


def _confident(one: Prediction, min_score: float) -> Prediction:
    return replace(one, boxes=tuple(box for box in one.boxes if box.score >= min_score))


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if is_image(file))
    if not path.is_file():
        raise UnreadableImage(f"{path} is not there; name image files or folders of them")
    return [path]


def _names(files: Sequence[Path]) -> Iterator[str]:
    """A file name for each picture; those that come twice get a number."""
    seen: dict[str, int] = {}
    for file in files:
        count = seen[file.stem] = seen.get(file.stem, 0) + 1
        yield f"{file.stem}.png" if count == 1 else f"{file.stem}-{count}.png"
