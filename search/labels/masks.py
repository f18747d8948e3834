"""Pictures with masks: folders ``images`` and ``masks`` whose files share their names; names in ``classes.txt``."""

from __future__ import annotations

from pathlib import Path

from search.errors import BadLabels
from search.images.read import is_image
from search.labels.checks import Told, mask_fault, picture_sizes
from search.labels.samples import Faults, Sample

IMAGES, MASKS = ("images", "image", "imgs"), ("masks", "mask", "labels", "annotations")


def read_masks(
    folder: Path, known: tuple[str, ...] | None, faults: Faults, told: Told
) -> tuple[tuple[str, ...], list[Sample]]:
    """The classes - by ``classes.txt`` or as many as the masks have - and the pictures of a folder.

    Raises:
        BadLabels: a folder is missing.
    """
    pictures, masks = (_one_of(folder, names) for names in (IMAGES, MASKS))
    named = known or class_names(folder)
    by_stem = {path.stem: path for path in sorted(masks.rglob("*")) if is_image(path)}
    samples, there = [], set()
    files = sorted(path for path in pictures.rglob("*") if is_image(path))
    sizes_px = picture_sizes(files, told)
    for path in files:
        mask = by_stem.pop(path.stem, None)
        if mask is None:
            faults.add(path, f"has no mask of that name in {masks.name}")
            continue
        size_px = sizes_px[path]
        if isinstance(size_px, str):
            faults.add(path, size_px)
            continue
        fault, found = mask_fault(mask, size_px, None if named is None else len(named))
        if fault is not None:
            faults.add(mask, fault)
            continue
        there |= found
        samples.append(Sample(path=path, size_px=size_px, mask=mask))
    for stray in by_stem.values():
        faults.add(stray, f"has no picture of that name in {pictures.name}")
    return named or tuple(f"class {i}" for i in range(max(there, default=-1) + 1)), samples


def class_names(folder: Path) -> tuple[str, ...] | None:
    """The lines of ``classes.txt`` in the folder or the one above; None without such a file."""
    for place in (folder, folder.parent):
        if (file := place / "classes.txt").is_file():
            return tuple(line.strip() for line in file.read_text("utf-8").splitlines() if line.strip())
    return None


def _one_of(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    raise BadLabels(f"{folder} has no folder {names[0]!r}; for seg it holds `images` and `masks`")
