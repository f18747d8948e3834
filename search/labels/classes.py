"""Pictures of one class each: a sub-folder a class, or a CSV file with the columns ``file`` and ``label``."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from hardware_profiles.plain_text import escape_controls
from search.errors import BadLabels
from search.images.read import is_image
from search.labels.checks import Told, picture_sizes
from search.labels.samples import Faults, Sample

CSVS = ("labels.csv", "annotations.csv")
_FILE_COLUMNS, _LABEL_COLUMNS = ("file", "filename", "path", "image"), ("label", "class", "category")


def read_classes(
    folder: Path, known: tuple[str, ...] | None, faults: Faults, told: Told
) -> tuple[tuple[str, ...], list[Sample]]:
    """The classes, sorted or as ``known``, and the pictures of a folder.

    Raises:
        BadLabels: no class, a class without pictures, or one that is not ``known``.
    """
    table = next((folder / name for name in CSVS if (folder / name).is_file()), None)
    pairs = _from_folders(folder) if table is None else _from_csv(table, faults)
    names = sorted({name for _, name in pairs})
    if table is None:
        empty = [one.name for one in _sub_folders(folder) if one.name not in names]
        if empty and known is None:
            faults.add(folder / empty[0], "a class without images")
    classes = tuple(names) if known is None else known
    where = {name: label for label, name in enumerate(classes)}
    samples, sizes_px = [], picture_sizes([path for path, _ in pairs], told)
    for path, name in pairs:
        if name not in where:
            faults.add(path, f"class {name!r} is none of {', '.join(classes[:5])}")
        elif isinstance(size_px := sizes_px[path], str):
            faults.add(path, size_px)
        else:
            samples.append(Sample(path=path, size_px=size_px, label=where[name]))
    return classes, samples


def _sub_folders(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))


def _from_folders(folder: Path) -> list[tuple[Path, str]]:
    return [(path, one.name) for one in _sub_folders(folder) for path in sorted(one.rglob("*")) if is_image(path)]


def _from_csv(table: Path, faults: Faults) -> list[tuple[Path, str]]:
    lines = _lines(table)
    columns = lines[0][1] if lines else []
    of_file, of_label = (
        next((i for i, name in enumerate(columns) if name.strip().lower() in known), None)
        for known in (_FILE_COLUMNS, _LABEL_COLUMNS)
    )
    if of_file is None or of_label is None:
        has = escape_controls(", ".join(columns)[:200]) or "none"
        raise BadLabels(f"{table} has columns {has}; it needs `file` and `label`, with commas between")
    pairs, seen = [], set()
    for number, cells in lines[1:]:
        name, label = (cells[i].strip() if i < len(cells) else "" for i in (of_file, of_label))
        path = table.parent / name
        if not os.path.isfile(path):  # noqa: PTH113 - False, too, for what no file system takes
            faults.add(table, f"line {number} names {name[:60]!a}, which is not there")
        elif not label:
            faults.add(table, f"line {number} has no label")
        elif path in seen:
            faults.add(table, f"line {number} names {name[:60]!a} a second time")
        else:
            seen.add(path)
            pairs.append((path, label))
    return pairs


def _lines(table: Path) -> list[tuple[int, list[str]]]:
    """The lines that hold something, with their numbers."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            return [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except UnicodeDecodeError as error:
        raise BadLabels(f"{table}: byte {error.start} is not UTF-8 text; save it as CSV (UTF-8)") from None
    except csv.Error as error:
        raise BadLabels(f"{table}, line {reader.line_num}: {error}; write it as CSV") from None
