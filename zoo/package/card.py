"""A model's card as files: ``config.json`` (what it is), ``perf.yaml`` (how fast), ``numerics.yaml`` (how exact).

``config.json`` holds the manifest of all other files and, under ``sha256``, the digest of its own text without that
line; its text is canonical, so that any changed byte shows.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from export.documents import read_document, to_document
from export.errors import MalformedReport
from export.types import ExportReport, Preprocess
from hardware_profiles.plain_text import escape_controls, read_plain_json
from hardware_profiles.tables.strict_yaml import read_plain_yaml
from search.types import Architecture, Task
from zoo.errors import BadPackage
from zoo.names import printable, shown
from zoo.package.manifest import Digest, check_manifest, describe, read_checked
from zoo.types import Evaluation, HeadCard, Images, ModelCard, Provenance, Split

SCHEMA = 1
CONFIG, PERF, NUMERICS = "config.json", "perf.yaml", "numerics.yaml"
# Of real packages it has about 10 kB.
MOST_CONFIG_BYTES = 4_000_000

# A report's keys that speak of exactness; all others speak of speed and of what the artefact is.
_NUMERIC_KEYS = ("comparison",)


class _ConfigFile(BaseModel):
    """``config.json``; nested values inherit that unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    schema_number: Literal[1] = Field(alias="schema")
    name: str
    architecture: Architecture
    task: Task
    preprocess: Preprocess
    recipe: Provenance
    evaluation: tuple[Evaluation, ...]
    images: Images
    license: str
    commit: str | None
    zoo_version: str
    head: HeadCard | None = None
    split: Split | None = None
    manifest: dict[str, Digest]


def config_text(card: ModelCard, manifest: Mapping[str, Digest]) -> str:
    """The text of ``config.json``."""
    digests = {file: asdict(digest) for file, digest in manifest.items()}
    return _sealed({"schema": SCHEMA, **_fields(card), "manifest": digests})


def card_document(card: ModelCard) -> dict[str, Any]:
    """The whole card, evidence included, as plain values for JSON."""
    return {"schema": SCHEMA, **_fields(card), "reports": [to_document(report) for report in card.reports]}


def read_config(text: str, reports: tuple[ExportReport, ...] = ()) -> tuple[ModelCard, dict[str, Digest]]:
    """``config.json`` -> the card, with the reports given, and the manifest.

    Raises:
        BadPackage: the text is damaged, or of another schema.
    """
    body = _opened(text)
    # A manifest's names are checked, never shown as they are; escaped, they would be other files.
    body = {**escape_controls({**body, "manifest": None}), "manifest": body.get("manifest")}
    try:
        parsed = _ConfigFile.model_validate_json(json.dumps(body))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadPackage(f"{CONFIG} has a bad {shown(where)}: {first['msg']}; get the package again") from None
    check_manifest(parsed.manifest)
    fields = {name: value for name, value in parsed if name not in ("schema_number", "manifest")}
    return ModelCard(**fields, reports=reports), parsed.manifest


def reports_texts(reports: tuple[ExportReport, ...]) -> dict[str, str]:
    """The texts of ``perf.yaml`` and ``numerics.yaml``."""
    documents = [to_document(report) for report in reports]
    speed = [{k: v for k, v in document.items() if k not in _NUMERIC_KEYS} for document in documents]
    numeric = [{k: document[k] for k in ("schema", "path", *_NUMERIC_KEYS)} for document in documents]
    return {
        PERF: _yaml({"schema": SCHEMA, "artefacts": speed}),
        NUMERICS: _yaml({"schema": SCHEMA, "artefacts": numeric}),
    }


def read_reports(perf: str, numerics: str) -> tuple[ExportReport, ...]:
    """``perf.yaml`` and ``numerics.yaml`` -> reports.

    Raises:
        BadPackage: one of them is of another schema, or they do not speak of the same artefacts.
    """
    speed, numeric = _artefacts(perf, PERF), _artefacts(numerics, NUMERICS)
    if not speed:
        raise BadPackage(f"{PERF} speaks of no artefact; get the package again")
    if [entry.get("path") for entry in speed] != [entry.get("path") for entry in numeric]:
        raise BadPackage(f"{PERF} and {NUMERICS} speak of different artefacts; get the package again")
    try:
        pairs = zip(speed, numeric, strict=True)
        return tuple(read_document(ExportReport, {**first, **second}) for first, second in pairs)
    except MalformedReport as error:
        raise BadPackage(f"{PERF} or {NUMERICS} cannot be read: {printable(str(error))}") from None


def _artefacts(text: str, file: str) -> list[dict[str, Any]]:
    try:
        document = read_plain_yaml(text)
    except ValueError:
        document = None
    match document:
        case {"schema": 1, "artefacts": [*entries], **extra} if not extra and all(isinstance(e, dict) for e in entries):
            return list(escape_controls(entries))
    raise BadPackage(f"{file} is not of schema {SCHEMA}; get the package again, or a newer subnet-zoo")


def _fields(card: ModelCard) -> dict[str, Any]:
    fields = TypeAdapter(ModelCard).dump_python(replace(card, reports=()), mode="json")
    del fields["reports"]
    return dict(fields)


def _sealed(body: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(_canonical(body).encode(errors="surrogatepass")).hexdigest()
    return _canonical({**body, "sha256": digest})


def _opened(text: str) -> dict[str, Any]:
    try:
        read_plain_json(text)  # for its limit of levels: whatever goes through the body below goes as deep
        body = json.loads(text)
    except ValueError:
        body = None
    if not isinstance(body, dict) or "schema" not in body:
        raise BadPackage(f"{CONFIG} is not a package's; name a folder that `zoo search` or `zoo get` made")
    if body["schema"] != SCHEMA:
        raise BadPackage(
            f"{CONFIG} has schema {printable(repr(body['schema']))}; this version reads {SCHEMA}: update subnet-zoo"
        )
    body.pop("sha256", None)
    if _sealed(body) != text:
        raise BadPackage(f"{CONFIG} is damaged: its sha256 is not that of its text; get the package again")
    return body


def _canonical(body: Mapping[str, Any]) -> str:
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def _yaml(body: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(body), sort_keys=False, allow_unicode=True, width=120)


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


@dataclass(frozen=True, kw_only=True)
class Packaged:
    """A package that is here."""

    card: ModelCard
    folder: Path
