"""Pictures of one class each: a sub-folder a class, or a CSV file with the columns ``file`` and ``label``."""

from __future__ import annotations

import csv
from pathlib import Path

from search.errors import BadLabels
from search.images.read import is_image
from search.labels.checks import picture_size
from search.labels.samples import Faults, Sample

CSVS = ("labels.csv", "annotations.csv")
_FILE_COLUMNS, _LABEL_COLUMNS = ("file", "filename", "path", "image"), ("label", "class", "category")


def read_classes(folder: Path, known: tuple[str, ...] | None, faults: Faults) -> tuple[tuple[str, ...], list[Sample]]:
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
    samples = []
    for path, name in pairs:
        if name not in where:
            faults.add(path, f"class {name!r} is none of {', '.join(classes[:5])}")
        elif isinstance(size := picture_size(path), str):
            faults.add(path, size)
        else:
            samples.append(Sample(path=path, label=where[name]))
    return classes, samples


def _sub_folders(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))


def _from_folders(folder: Path) -> list[tuple[Path, str]]:
    return [(path, one.name) for one in _sub_folders(folder) for path in sorted(one.rglob("*")) if is_image(path)]


def _from_csv(table: Path, faults: Faults) -> list[tuple[Path, str]]:
    with table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        of_file = next((name for name in columns if name.strip().lower() in _FILE_COLUMNS), None)
        of_label = next((name for name in columns if name.strip().lower() in _LABEL_COLUMNS), None)
        if of_file is None or of_label is None:
            raise BadLabels(f"{table} has columns {', '.join(columns) or 'none'}; it needs `file` and `label`")
        pairs, seen = [], set()
        for row in reader:
            path = table.parent / (row[of_file] or "").strip()
            if not path.is_file():
                faults.add(table, f"line {reader.line_num} names {row[of_file]!r}, which is not there")
            elif not (label := (row[of_label] or "").strip()):
                faults.add(table, f"line {reader.line_num} has no label")
            elif path in seen:
                faults.add(table, f"line {reader.line_num} names {row[of_file]!r} a second time")
            else:
                seen.add(path)
                pairs.append((path, label))
    return pairs
