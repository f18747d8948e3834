"""Pictures with boxes: COCO json, Pascal VOC xml or YOLO txt, found by what lies in the folder.

A VOC box is taken as it is written, in pixels from 0, as today's annotation tools write it; COCO's is x, y, width,
height; YOLO's is the center and the size as shares of the picture. Crowds of COCO are left out.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from search.errors import BadLabels
from search.images.read import is_image
from search.labels.checks import Told, box_fault, picture_sizes
from search.labels.masks import class_names
from search.labels.samples import Faults, Sample

_NOT_LABELS = ("classes.txt", "readme.txt", "readme.dataset.txt", "readme.roboflow.txt", "train.txt", "val.txt")
_HEAD_BYTES = 4096  # a format shows in its first lines


@dataclass(frozen=True, kw_only=True)
class _Raw:
    """A picture's boxes as a file has them; ``labels`` are classes' names."""

    file: Path
    picture: Path
    boxes: tuple[tuple[float, ...], ...]
    labels: tuple[str, ...]
    is_relative: bool = False


def read_boxes(
    folder: Path, known: tuple[str, ...] | None, faults: Faults, told: Told
) -> tuple[tuple[str, ...], list[Sample]]:
    """The classes and the pictures of a folder.

    Raises:
        BadLabels: no annotations, those of two formats, or a document that cannot be read.
    """
    pictures = sorted(path for path in folder.rglob("*") if is_image(path))
    formats = {
        "COCO json": [path for path in sorted(folder.rglob("*.json")) if _is_coco(path)],
        "VOC xml": sorted(folder.rglob("*.xml")),
        "YOLO txt": [path for path in sorted(folder.rglob("*.txt")) if path.name.lower() not in _NOT_LABELS],
    }
    there = [name for name, files in formats.items() if files]
    if len(there) > 1:
        raise BadLabels(f"{folder} has {' and '.join(there)}; keep the annotations of one format")
    if not there:
        raise BadLabels(f"{folder} has no boxes in a known format; write them as COCO json, VOC xml or YOLO txt")
    files = formats[there[0]]
    match there[0]:
        case "COCO json":
            names, raws = _coco(files, pictures, faults)
        case "VOC xml":
            names, raws = _voc(files, pictures, faults)
        case _:
            names, raws = _yolo(folder, files, pictures, faults)
    if there[0] != "COCO json":  # COCO's json lists the pictures without boxes, too
        annotated, stems = {raw.picture for raw in raws}, {file.stem for file in files}
        for stray in (path for path in pictures if path not in annotated and path.stem not in stems):
            faults.add(stray, "has no annotations; write an empty file if it shows nothing")
    used = Counter(label for raw in raws for label in raw.labels)
    if known is None and (idle := [name for name in names if not used[name]]):
        faults.add(files[0], f"class {idle[0]!r} has no box")
        names = tuple(name for name in names if used[name])
    classes = names if known is None else known
    sizes_px = picture_sizes(list(dict.fromkeys(raw.picture for raw in raws)), told)
    return classes, [one for raw in raws if (one := _sample(raw, sizes_px[raw.picture], classes, faults)) is not None]


def _sample(raw: _Raw, size_px: tuple[int, int] | str, classes: tuple[str, ...], faults: Faults) -> Sample | None:
    if isinstance(size_px, str):
        faults.add(raw.picture, size_px)
        return None
    boxes_M4 = np.array(raw.boxes, np.float64).reshape(-1, 4)  # noqa: N806
    if raw.is_relative:
        boxes_M4 = boxes_M4 * np.array([*size_px, *size_px])  # noqa: N806
    for box_4, label in zip(boxes_M4, raw.labels, strict=True):
        fault = box_fault(box_4, size_px)
        if fault is None and label not in classes:
            fault = f"class {label!r} is none of {', '.join(classes[:5])}"
        if fault is not None:
            faults.add(raw.file, f"{raw.picture.name}: {fault}")
            return None
    limit_4 = np.array([*size_px, *size_px])
    return Sample(
        path=raw.picture,
        size_px=size_px,
        boxes_M4=boxes_M4.clip(0, limit_4).astype(np.float32),
        labels_M=np.array([classes.index(label) for label in raw.labels], np.int64),
    )


def _is_coco(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return any(f'"{word}"'.encode() in head for word in ("images", "annotations", "categories"))


def _coco(files: list[Path], pictures: list[Path], faults: Faults) -> tuple[tuple[str, ...], list[_Raw]]:
    if len(files) > 1:
        raise BadLabels(f"{files[0].parent} has {len(files)} COCO files, {files[0].name} and {files[1].name}; keep one")
    (file,) = files
    try:
        document = json.loads(file.read_bytes())
        categories = {int(one["id"]): str(one["name"]) for one in document["categories"]}
        images, rows = list(document["images"]), list(document["annotations"])
        ids = Counter(int(one["id"]) for one in images)
        row_ids = Counter(one["id"] for one in rows if "id" in one)
        of_image: dict[int, list[dict[str, Any]]] = {image: [] for image in ids}
        for what, counts in (("image", ids), ("annotation", row_ids)):
            if twice := [one for one, count in counts.items() if count > 1]:
                faults.add(file, f"{what} id {twice[0]} is there twice")
        for row in rows:
            if int(row["image_id"]) not in of_image:
                faults.add(file, f"annotation {row.get('id')} is of image {row['image_id']}, which is not there")
            elif int(row["category_id"]) not in categories:
                faults.add(file, f"annotation {row.get('id')} has category {row['category_id']}, which is not there")
            elif not row.get("iscrowd"):
                of_image[int(row["image_id"])].append(row)
        raws, by_name = [], _by_name(pictures)
        for image in {int(one["id"]): one for one in images}.values():
            name = str(image["file_name"])
            picture = by_name.get(Path(name).name)
            if picture is None:
                faults.add(file, f"image {name!r} is not there")
                continue
            mine = of_image[int(image["id"])]
            boxes = tuple(_corners(*(float(value) for value in row["bbox"])) for row in mine)
            labels = tuple(categories[int(row["category_id"])] for row in mine)
            raws.append(_Raw(file=file, picture=picture, boxes=boxes, labels=labels))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise BadLabels(f"{file} is no COCO file ({type(error).__name__}: {error}); export it again") from None
    return tuple(categories[one] for one in sorted(categories)), raws


def _voc(files: list[Path], pictures: list[Path], faults: Faults) -> tuple[tuple[str, ...], list[_Raw]]:
    raws, by_stem, labels_there = [], _by_stem(pictures), set()
    for file in files:
        try:
            if b"<!ENTITY" in (content := file.read_bytes()):  # which can grow without end
                raise ValueError("it defines entities")
            root = ElementTree.fromstring(content)
            found = [(str(one.findtext("name")).strip(), _voc_box(one)) for one in root.iter("object")]
        except (ElementTree.ParseError, ValueError) as error:
            faults.add(file, f"is no VOC annotation ({error})")
            continue
        picture = by_stem.get(file.stem) or by_stem.get(Path(root.findtext("filename") or "").stem)
        if picture is None:
            faults.add(file, "has no picture of that name")
            continue
        labels_there |= {name for name, _ in found}
        boxes, labels = tuple(box for _, box in found), tuple(name for name, _ in found)
        raws.append(_Raw(file=file, picture=picture, boxes=boxes, labels=labels))
    return tuple(sorted(labels_there)), raws


def _voc_box(one: ElementTree.Element) -> tuple[float, ...]:
    box = one.find("bndbox")
    texts = [None if box is None else box.findtext(side) for side in ("xmin", "ymin", "xmax", "ymax")]
    if None in texts:
        raise ValueError("an object has no xmin, ymin, xmax, ymax")
    return tuple(float(text) for text in texts if text is not None)


def _yolo(folder: Path, files: list[Path], pictures: list[Path], faults: Faults) -> tuple[tuple[str, ...], list[_Raw]]:
    names, by_stem = _yolo_names(folder), _by_stem(pictures)
    raws: list[_Raw] = []
    most = -1
    for file in files:
        picture = by_stem.get(file.stem)
        if picture is None:
            faults.add(file, "has no picture of that name")
            continue
        boxes, labels = [], []
        try:
            for line in filter(None, (line.split() for line in file.read_text("utf-8").splitlines())):
                if len(line) != 5:
                    raise ValueError(f"a line has {len(line)} words, not 5: class, x, y, width, height")
                label, (x, y, width, height) = int(line[0]), (float(word) for word in line[1:])
                if label < 0 or (names is not None and label >= len(names)):
                    raise ValueError(f"class {label} is out of range; there are {len(names or ())}, counted from 0")
                most = max(most, label)
                labels.append(label)
                boxes.append(_corners(x - width / 2, y - height / 2, width, height))
        except ValueError as error:
            faults.add(file, str(error))
            continue
        texts = tuple(str(label) if names is None else names[label] for label in labels)
        raws.append(_Raw(file=file, picture=picture, boxes=tuple(boxes), labels=texts, is_relative=True))
    return names or tuple(str(label) for label in range(most + 1)), raws


def _yolo_names(folder: Path) -> tuple[str, ...] | None:
    """Of ``data.yaml`` or ``classes.txt``, in the folder or above it."""
    for place in (folder, folder.parent):
        if (file := place / "data.yaml").is_file():
            try:
                names = yaml.safe_load(file.read_text("utf-8"))["names"]
            except (yaml.YAMLError, TypeError, KeyError) as error:
                raise BadLabels(f"{file} has no list of names ({type(error).__name__}); write `names: [...]`") from None
            return tuple(str(name) for name in (names.values() if isinstance(names, dict) else names))
    return class_names(folder)


def _corners(x: float, y: float, width: float, height: float) -> tuple[float, ...]:
    return (x, y, x + width, y + height)


def _by_name(pictures: Iterable[Path]) -> dict[str, Path]:
    return {path.name: path for path in pictures}


def _by_stem(pictures: Iterable[Path]) -> dict[str, Path]:
    return {path.stem: path for path in pictures}
