"""Facts: what to know of a network before trusting it, as rows for people."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from export.types import ExportReport
from hardware_profiles.measure.probe import probe_device
from hardware_profiles.types import Scaling, Validation
from search.supernet import SupernetCard
from search.types import Budget
from zoo.catalogue import Entry
from zoo.cli.console import ms_text, size_text
from zoo.devices.names import DEFAULT_THREADS
from zoo.home import commit, library_versions, zoo_home, zoo_version
from zoo.package.card import Packaged, read_manifest
from zoo.package.history import HISTORY, read_history, score_words
from zoo.package.manifest import read_checked
from zoo.package.readme import returned
from zoo.plots import front_text
from zoo.supernets import supernet_folders
from zoo.types import ModelCard

Row = tuple[str, ...]
_FITS = {"crop": "the center square of a picture", "letterbox": "the whole picture on grey"}


def card_facts(card: ModelCard, folder: Path) -> list[Row]:
    """Of a package: what it is, what it costs, how it was found, and from what."""
    recipe, device = card.recipe, card.recipe.device
    trained = [f"{key} {recipe.supernet_recipe[key]}" for key in ("objective", "epochs", "seed") if _has(card, key)]
    return [
        ("name", card.name),
        ("folder", str(folder)),
        ("task", f"{card.task}; {_input(card)}"),
        ("returns", returned(card)),
        *[("head", _head(card)) for _ in range(card.head is not None)],
        ("network", f"{card.architecture.net}: {' '.join(map(str, card.architecture.choices))}"),
        ("device", f"{device.id}: {device.chip}, {device.runtime} {device.runtime_version}, {_use(card)}"),
        *[
            ("latency table", table_text(device.source, recipe.table_validation, recipe.table_scaling))
            for _ in range(bool(recipe.tries))
        ],
        *[("limits", limits_text(recipe.limits)) for _ in range(recipe.limits is not None)],
        *[("timed", _tries(card)) for _ in range(bool(recipe.tries))],
        ("score", _score(card)),
        ("images", f"{card.images.count} ({card.images.skipped} skipped); {_origin(card)}"),
        ("supernet", f"{recipe.supernet}, sha256 {recipe.supernet_sha256[:16]}; {', '.join(trained)}"),
        ("training data", "; ".join(f"{key}: {value}" for key, value in recipe.supernet_data.items())),
        *(_evaluations(card) or [("evaluation", "none on labelled data")]),
        ("license", card.license),
        ("made by", f"subnet-zoo {card.zoo_version}" + (f", commit {card.commit[:12]}" if card.commit else "")),
    ]


def front_lines(packaged: Packaged) -> list[str]:
    """The search of a package as a small plot, where the terminal can show one and the package keeps a search."""
    folder, card = packaged.folder, packaged.card
    if not (sys.stdout.isatty() and "utf" in (sys.stdout.encoding or "").lower() and (folder / HISTORY).is_file()):
        return []
    history = read_history(read_checked(folder, HISTORY, read_manifest(folder)[1]))
    if len(history.scored) < 2:
        return []
    last = card.recipe.tries[-1] if card.recipe.tries else None
    text = front_text(
        history.scored,
        [(row.predicted_ms, row.score) for row in history.front],
        None if last is None else (last.predicted_ms, last.score),
        width=min(80, shutil.get_terminal_size().columns),
    )
    return ["", "score against milliseconds:", *text.splitlines()]


def artefact_rows(card: ModelCard) -> list[Row]:
    """A heading and a row an artefact: size, times, and how exact it is."""
    rows: list[Row] = [("file", "precision", "size", "predicted", "measured", "p90", "cosine", "on")]
    own = {(report.device, report.threads) for report in card.reports}
    places = {place: i + 1 for i, place in enumerate(sorted(own))}
    return [*rows, *((*_artefact(report), str(places[report.device, report.threads])) for report in card.reports)]


def artefact_notes(card: ModelCard) -> list[str]:
    """What the columns of ``artefact_rows`` mean."""
    own = sorted({(report.device, report.threads) for report in card.reports})
    return [
        f"ms for one image, predicted by the {card.recipe.device.source} table; cosine: the smallest",
        *(f"{i + 1}: {device}, {threads} thread(s)" for i, (device, threads) in enumerate(own)),
    ]


def entry_facts(entry: Entry) -> list[Row]:
    """Of a catalogue entry that was not made yet."""
    return [
        ("name", entry.name),
        ("made", f"not yet; `zoo get {entry.name}` takes it out of {entry.supernet}, compares it and packages it"),
        ("task", f"{entry.task}; input {entry.resolution_px}x{entry.resolution_px} px RGB"),
        ("network", f"{entry.net}: {' '.join(map(str, entry.choices))}"),
        ("size", f"{entry.params:,} parameters, {entry.macs:,} multiply-accumulates"),
        ("memory", size_text(entry.peak_memory_bytes)),
        ("device", entry.device),
        ("latency table", entry.source),
        ("predicted ms", ms_text(entry.predicted_ms)),
        ("score", _entry_score(entry)),
        ("images", entry.images),
        ("supernet", f"{entry.supernet}, sha256 {entry.supernet_sha256[:16]}"),
    ]


def _entry_score(entry: Entry) -> str:
    if entry.net == "cell":
        return f"none: {entry.supernet} holds one network"
    return f"{entry.score:.4f}, the best of {entry.evaluated} networks within the budget; seed {entry.seed}"


def table_text(source: str, validation: Validation | None, scaling: Scaling | None) -> str:
    """Where a table's milliseconds come from, and how far off they may be."""
    if scaling is not None:
        known = scaling.mape_percent is not None
        off = f"{scaling.mape_percent:g} % off on {scaling.seen_on}" if known else "nobody knows how far off"
        return f"{source}: scaled from {scaling.from_px} px, {off}"
    if validation is None:
        return f"{source}, not validated"
    return (
        f"{source}; {validation.networks} unseen networks predicted within {validation.mape_percent:.1f} % on average"
    )


def limits_text(limits: Budget | None) -> str:
    """All limits of a search."""
    if limits is None:
        return "-"
    parts = {
        "ms": limits.latency_ms,
        "parameters": limits.max_params,
        "multiply-accumulates": limits.max_macs,
        "bytes of memory": limits.max_memory_bytes,
    }
    return ", ".join(f"at most {value:,} {unit}" for unit, value in parts.items() if value is not None)


def _artefact(report: ExportReport) -> Row:
    measured = report.measured
    cosine = min(output.min_cosine for output in report.comparison.outputs)
    return (
        report.path.as_posix(),
        report.target.precision,
        size_text(report.bytes),
        ms_text(report.predicted_ms),
        ms_text(measured.median_ms if measured else None),
        ms_text(measured.p90_ms if measured else None),
        f"{cosine:.7f}",
    )


def _use(card: ModelCard) -> str:
    device = card.recipe.device
    threads = f"{device.threads} thread(s), " if device.threads else ""
    return f"{threads}{device.precision}, batch {device.batch}"


def _input(card: ModelCard) -> str:
    height, width = card.preprocess.size_px
    return f"input {height}x{width} px RGB, {_FITS[card.preprocess.fit]}"


def _head(card: ModelCard) -> str:
    assert card.head is not None
    known = "trained on labels" if card.head.trained else "not trained yet, its outputs mean nothing: zoo finetune"
    return f"{card.head.kind}, {known}"


def _score(card: ModelCard) -> str:
    recipe = card.recipe
    if not recipe.tries:
        return "none: the network was named, not searched"
    if recipe.supernet_recipe.get("architecture"):
        return f"none: {recipe.supernet} holds one network"
    found = f"{recipe.evaluated} networks scored in {recipe.seconds:.0f} s"
    return f"{recipe.tries[-1].score:.4f} by {score_words(recipe.criterion)}; {found}, seed {recipe.seed}"


def _tries(card: ModelCard) -> str:
    times = [f"{ms_text(t.measured_ms)} for {ms_text(t.predicted_ms)} predicted" for t in card.recipe.tries]
    return f"{'; '.join(times)} (ms)" if card.recipe.tries[-1].measured_ms is not None else "not on its device"


def _origin(card: ModelCard) -> str:
    text = card.images.fingerprint
    return text if ":" in text else f"a folder's, fingerprint {text[:16]}"


def _evaluations(card: ModelCard) -> list[Row]:
    return [("evaluation", f"{e.data} {e.metric}: {e.value:.4g} ({e.protocol})") for e in card.evaluation]


def _has(card: ModelCard, key: str) -> bool:
    return isinstance(card.recipe.supernet_recipe.get(key), str | int | float)


def supernet_facts(card: SupernetCard, folder: Path) -> list[Row]:
    """What it holds, how and on what it was trained, and how good its features were where that was looked at."""
    networks = "1 network" if card.architecture else f"{card.family.size:.3g} networks"
    return [
        ("name", card.name),
        ("folder", str(folder)),
        ("net", f"{card.net}: {networks}; input {card.resolution_px}x{card.resolution_px} px RGB"),
        ("objective", _objective(card)),
        ("recipe", _text({key: value for key, value in card.recipe.items() if isinstance(value, str | int | float)})),
        ("training", _text({key: value for key, value in card.training.items() if key not in ("curve", "validation")})),
        *[("loss", loss) for loss in [_loss(card.training.get("curve"))] if loss is not None],
        *[("validation", seen) for seen in [_validation(card.training.get("validation"))] if seen is not None],
        ("training data", _text(card.data)),
        *([(f"evaluation: {key}", _judged(value)) for key, value in card.evaluation.items()] or [_NOT_EVALUATED]),
        ("versions", _text(card.versions)),
    ]


def _objective(card: SupernetCard) -> str:
    teacher, weight = card.recipe.get("teacher"), card.recipe.get("teacher_weight")
    if teacher is None or not isinstance(weight, int | float):
        return card.objective
    return f"{card.objective}, with {weight:.0%} of the loss the teacher's, {teacher}"


_NOT_EVALUATED = ("evaluation", "none on labelled data; `zoo evaluate` does that")


def _loss(curve: Any) -> str | None:
    """The ends of a ``search.curve.loss_curve``; None where there is none, or a stranger's of another form."""
    match curve:
        case {"columns": [_, *names], "rows": [[begin, *first], *_, [end, *last]], "note": note}:
            pairs = zip(names, first, last, strict=False)
            losses = ", ".join(f"{str(name).removeprefix('loss_')} {a} -> {b}" for name, a, b in pairs)
            return f"{losses}, steps {begin} -> {end}; {note}"
    return None


def _validation(looks: Any) -> str | None:
    """The ends of what ``zoo pretrain --validate`` saw; None where it did not look, or a stranger's form."""
    match looks:
        case {"columns": ["step", "images", *names], "rows": [first, *_] as rows} if all(map(_is_look, rows)):
            pairs = zip(names, first[2:], rows[-1][2:], strict=False)
            accuracies = ", ".join(f"{str(name).replace('_', ' ')} {a} -> {b}" for name, a, b in pairs)
            return f"{accuracies}, images seen {first[1]:,.0f} -> {rows[-1][1]:,.0f}"
    return None


def _is_look(row: Any) -> bool:
    return isinstance(row, list) and len(row) > 2 and isinstance(row[1], int | float)


def _judged(value: Any) -> str:
    """A line of an evaluation; of its networks what each is and how good, not its choices."""
    if isinstance(value, list) and value and all(map(_is_judged, value)):
        return "; ".join(f"{one['network']} ({one['params']:,} parameters): {_accuracies(one)}" for one in value)
    return _text(value)


def _is_judged(network: Any) -> bool:
    """Whether a network of an evaluation is as ``zoo evaluate`` writes it, and not a stranger's."""
    match network:
        case {"network": str(), "params": int(), "trained": {**trained}}:
            return all(isinstance(value, float) for value in trained.values())
    return False


def _accuracies(network: Mapping[str, Any]) -> str:
    untrained = network.get("untrained")
    before = untrained if isinstance(untrained, dict) else {}
    told = [(f"{name} {value:.3f}", before.get(name)) for name, value in network["trained"].items()]
    return ", ".join(f"{text} (untrained {old:.3f})" if isinstance(old, float) else text for text, old in told)


def _text(value: Any) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    return "; ".join(f"{key} {_inner(inner)}" for key, inner in value.items())


def _inner(value: Any) -> str:
    return ", ".join(f"{key} {inner}" for key, inner in value.items()) if isinstance(value, Mapping) else str(value)


def environment() -> dict[str, str | int | None]:
    """Facts by name."""
    device = probe_device(threads=DEFAULT_THREADS)
    return {
        "subnet-zoo": zoo_version(),
        "commit": commit(),
        "python": platform.python_version(),
        "system": platform.platform(),
        **library_versions(),
        "processor": device.chip,
        "memory GB": round(device.memory_bytes / 1e9),
        "device": device.id,
        "threads": device.threads,
        "cache": str(zoo_home()),
        "supernets": ", ".join(supernet_folders()) or None,
    }
