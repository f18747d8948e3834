"""A package's folder as far as it can be read without torch: what it is, its card, its manifest."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from zoo.card import CONFIG, MOST_CONFIG_BYTES, NUMERICS, PERF, config_text, read_config, read_reports, reports_texts
from zoo.errors import BadPackage
from zoo.manifest import Digest, describe, read_checked
from zoo.names import shown
from zoo.types import ModelCard


def is_package(folder: Path) -> bool:
    """Whether the folder says of itself that it is a package."""
    return os.path.isfile(folder / CONFIG)  # noqa: PTH113 - False, too, for what no file system takes


def read_manifest(folder: Path) -> tuple[ModelCard, dict[str, Digest]]:
    """The card of a package, without its reports, and its manifest.

    Raises:
        BadPackage: there is none, or it is damaged.
    """
    try:
        if (folder / CONFIG).exists() and not is_package(folder):  # a pipe or a device would never end
            raise BadPackage(f"{CONFIG} is no file; get the package again")
        if (size := (folder / CONFIG).stat().st_size) > MOST_CONFIG_BYTES:
            raise BadPackage(f"{CONFIG} has {size} bytes; at most {MOST_CONFIG_BYTES} are read: get the package again")
        return read_config((folder / CONFIG).read_bytes().decode())
    except OSError as error:
        raise BadPackage(f"{folder} is no package: {CONFIG} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise BadPackage(f"{folder / CONFIG} is damaged: it is not UTF-8 text; get the package again") from None
    except BadPackage as error:
        raise BadPackage(f"{folder}: {error}") from None


def read_card(folder: Path) -> ModelCard:
    """The card of a package, without reading its weights.

    Raises:
        BadPackage: there is none, or it is damaged.
    """
    card, manifest = read_manifest(folder)
    return with_reports(card, {file: read_checked(folder, file, manifest) for file in (PERF, NUMERICS)})


def shrink_package(folder: Path, files: Collection[str]) -> None:
    """Make a folder that holds only ``files`` of a package, and its config, a whole package of these.

    Args:
        folder: one that nobody else reads yet.
        files: relative to it; its evidence is rewritten to speak of their artefacts only.
    """
    card, manifest = read_manifest(folder)
    if set(manifest) == set(files):
        return
    reports = [report for report in read_card(folder).reports if report.path.as_posix() in files]
    for file, text in reports_texts(tuple(reports)).items():
        (folder / file).write_text(text, "utf-8", newline="\n")
    (folder / CONFIG).write_text(config_text(card, describe(folder, files)), "utf-8", newline="\n")


def with_reports(card: ModelCard, files: Mapping[str, bytes]) -> ModelCard:
    """The card with the reports in the contents of ``perf.yaml`` and ``numerics.yaml``."""
    perf, numerics = (required(files, file).decode(errors="replace") for file in (PERF, NUMERICS))
    return replace(card, reports=read_reports(perf, numerics))


def required(files: Mapping[str, bytes], file: str) -> bytes:
    """The content of a file that every package has."""
    if file not in files:
        raise BadPackage(f"the package has no {shown(file)}; get it again")
    return files[file]
