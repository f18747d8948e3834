"""Attacks: what a stranger may write into a package, a table, a card or a CSV, and the commands that then read it.

Each attack writes its files into a folder and names the commands to try; ``attempt`` runs one of them and says what it
did. The suite tries some hundred, ``benchmarks/fuzz.py`` ten thousand.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import resource
import shutil
import struct
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import onnx
import typer
import yaml
from hypothesis import strategies as st

from hardware_profiles.tables.find import keep_table
from search.labels.read import read_samples
from search.supernet import load_supernet
from search.types import Task
from tests.conftest import structured_image
from tests.zoo.small_files import DEVICE, made_up_table, small_backbone, small_card, small_report, write_supernet
from zoo.cli.app import program
from zoo.devices.public import read_published
from zoo.package.card import CONFIG, NUMERICS, PERF, _sealed
from zoo.package.folder import write_package
from zoo.package.manifest import describe

Draw = Callable[[st.SearchStrategy[Any]], Any]
Try = list[str] | Callable[[], object]

NASTY = st.sampled_from(
    [
        *("..", "../x", "/etc/passwd", "C:\\x", "a\\b", "\0", "\u202e", "\uff0f", "\ud800", "~", "CON", "", "."),
        *("\x1b]0;owned\x07\x1b[2J", "\x9b31m", "1:59:59", "nan", "1e999", "0x10", "yes", "2026-01-01"),
        *("<script>", "{{7*7}}", "a" * 10_000),
    ]
)
TEXT = NASTY | st.text(max_size=40) | st.lists(NASTY, min_size=1, max_size=3).map("/".join)
NUMBER = st.sampled_from(
    [0, -1, 1, 2**31, 2**63, 10**400, 1e308, -1e308, 5e-324, float("nan"), float("inf"), 10**6, True]
)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | NUMBER,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
SPLICE = TEXT | st.sampled_from(
    [
        "&a [*a]",
        "!!python/object:os.system x",
        "{",
        "- " * 3000,
        "[" * 5000,
        ":59" * 3000,
        '"',
        "'",
        ",",
        "\n",
        "\ufeff",
    ]
)


@dataclass(frozen=True, kw_only=True)
class Bases:
    """Honest files to start from: a package, a supernet, a table, and two images."""

    package: Path
    supernet: Path
    table: Path
    images: Path


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a command did.

    Args:
        words: of the command, for people.
        fault: what it should not have done; None where it did its work or refused in one line.
        seconds: of a processor, in this process and in those that it started; a clock would tell of the machine.
    """

    words: str
    fault: str | None
    seconds: float


def make_bases(folder: Path) -> Bases:
    """The honest files, in an empty folder."""
    images = folder / "images"
    images.mkdir(parents=True)
    for i in range(2):
        structured_image(i).save(images / f"{i:03d}.png")
    table = keep_table(made_up_table(DEVICE), folder)
    package, backbone = folder / "package", small_backbone()
    write_package(package, card=small_card(small_report(backbone, folder / "model.onnx")), backbone=backbone)
    return Bases(package=package, supernet=write_supernet(folder / "supernet"), table=table, images=images)


def attempt(what: Try) -> Outcome:
    """Run a command in this process, or a function that may fail with errors of ours."""
    words = " ".join(what) if isinstance(what, list) else getattr(what, "__name__", "read")
    out, err = io.StringIO(), io.StringIO()
    before = _processor_seconds()
    with warnings.catch_warnings(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        warnings.simplefilter("error")
        try:
            if isinstance(what, list):
                code = _program(what[0])(what, standalone_mode=False)
            else:
                code = _called(what)
            fault = _fault(code, out.getvalue(), err.getvalue())
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            fault = f"{type(error).__name__}: {error}"
    return Outcome(words=words, fault=fault, seconds=_processor_seconds() - before)


def _processor_seconds() -> float:
    return sum(
        getattr(resource.getrusage(who), field)
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        for field in ("ru_utime", "ru_stime")
    )


@cache
def _program(first: str) -> typer.Typer:
    return program(first)


def _called(function: Callable[[], object]) -> int:
    try:
        function()
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("zoo", "search", "export", "hardware_profiles"):
            raise
        print(f"zoo: {error}", file=sys.stderr)
        return 1
    return 0


def _fault(code: int, out: str, err: str) -> str | None:
    if "fault of the zoo" in err or "Traceback" in err:
        return err.strip()[-2000:]
    told = [line for line in err.splitlines() if line.startswith("zoo: ")]
    if code and (len(told) != 1 or not err.rstrip().endswith(told[-1].rstrip()) or len(told[-1]) > 3000):
        return f"exit {code} with {len(told)} lines of error: {err.strip()[-600:]}"
    if odd := {c for c in out + err if not c.isprintable()} - {"\n", "\t"}:
        return f"prints {odd!r}"
    return None


def _changed(draw: Draw, document: Any) -> Any:
    """The document with a value somewhere in it replaced, removed or added."""
    for _ in range(draw(st.integers(1, 3))):
        where = document
        for _ in range(draw(st.integers(0, 6))):
            inner = [
                v for v in (where.values() if isinstance(where, dict) else where) if isinstance(v, dict | list) and v
            ]
            if not inner:
                break
            where = draw(st.sampled_from(inner))
        if isinstance(where, dict):
            key = draw(st.sampled_from(sorted(where)) | TEXT) if where else draw(TEXT)
            if draw(st.integers(0, 4)) == 0:
                where.pop(key, None)
            else:
                where[key] = draw(_like(where.get(key)))
        elif where:
            at = draw(st.integers(0, len(where) - 1))
            match draw(st.integers(0, 4)):
                case 0:
                    del where[at]
                case 1:
                    where.insert(at, where[at])
                case _:
                    where[at] = draw(_like(where[at]))
    return document


def _like(value: Any) -> st.SearchStrategy[Any]:
    """Mostly a value of the same kind, so that it gets past the first check."""
    match value:
        case bool():
            return st.booleans() | VALUE
        case int() | float():
            return NUMBER | st.integers(-5, 5000) | st.floats() | VALUE
        case str():
            return TEXT | st.just(value).map(lambda text: text + "\x1b[2J") | VALUE
        case _:
            return VALUE


def _spliced(draw: Draw, text: str) -> str:
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 40)))
    return text[:start] + draw(SPLICE) + text[end:]


def _damaged(draw: Draw, content: bytes) -> bytes:
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, min(len(content), 4000) - 1)) | st.integers(0, max(0, len(content) - 1)))
        new = draw(st.binary(max_size=12))
        rest = (content[at + len(new) :], b"", content[at:])[draw(st.integers(0, 2))]
        content = content[:at] + new + rest
    return content


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogatepass")


def _as_yaml(document: Any) -> str:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=10**9)


def _package(draw: Draw, bases: Bases, folder: Path, home: Path) -> list[Try]:
    """A package whose author changed one or two of its files and sealed it anew, or did not."""
    package = Path(shutil.copytree(bases.package, folder / "package"))
    for file in draw(st.lists(st.sampled_from(sorted(_CHANGES)), min_size=1, max_size=2, unique=True)):
        if (package / file).is_file():
            _CHANGES[file](draw, package / file)
    if draw(st.integers(0, 9)):
        _seal(draw, package)
    if draw(st.integers(0, 9)) == 0:
        _odd_file(draw, package, folder)
    (home / "packages").mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError, shutil.Error):
        shutil.copytree(package, home / "packages" / "data-mocov2-cls-1ms@bench-0123abcd", symlinks=True)
    path = str(package)
    common: list[Try] = [
        ["info", path],
        ["info", path, "--json"],
        ["get", path, "--to", str(folder / "copy"), "--overwrite"],
    ]
    seldom: list[Try] = [
        ["get", path, "--verify"],
        ["push", path, "acme/signs", "--dry-run"],
        ["benchmark", path, "--threads", "1", "--batch", "1"],
        ["predict", path, str(bases.images / "000.png")],
    ]
    tries = [draw(st.sampled_from(common)), draw(st.sampled_from([["list"], ["cache", "list"], ["report", path]]))]
    return [*tries, draw(st.sampled_from(seldom))] if draw(st.integers(0, 11)) == 0 else tries


def _config(draw: Draw, path: Path) -> None:
    if draw(st.integers(0, 5)) == 0:
        path.write_bytes(_encoded(_spliced(draw, path.read_text("utf-8"))))
        return
    body = json.loads(path.read_text("utf-8"))
    body.pop("sha256", None)
    _write_config(path, _changed(draw, body))


def _write_config(path: Path, body: Any) -> None:
    with contextlib.suppress(ValueError, UnicodeError):  # a number or a letter that no JSON holds
        path.write_bytes(_encoded(_sealed(body)))


def _evidence(draw: Draw, path: Path) -> None:
    text = path.read_text("utf-8")
    if draw(st.booleans()):
        path.write_bytes(_encoded(_spliced(draw, text)))
    else:
        path.write_bytes(_encoded(_as_yaml(_changed(draw, yaml.safe_load(text)))))


def _tensors(draw: Draw, path: Path) -> None:
    """Another header before the same numbers, or damaged bytes."""
    content = path.read_bytes()
    if draw(st.booleans()):
        path.write_bytes(_damaged(draw, content))
        return
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    key = draw(st.sampled_from(sorted(header)))
    header[key] = _changed(draw, header[key]) if isinstance(header[key], dict) else draw(VALUE)
    if draw(st.integers(0, 5)) == 0:
        header.pop(key)
    with contextlib.suppress(ValueError):
        text = _encoded(json.dumps(header))
        path.write_bytes(
            struct.pack("<Q", draw(st.just(len(text)) | st.integers(0, 2**64 - 1))) + text + content[8 + length :]
        )


def _graph(draw: Draw, path: Path) -> None:
    content = path.read_bytes()
    if draw(st.booleans()):
        path.write_bytes(_damaged(draw, content))
        return
    model = onnx.load_from_string(content)
    node, weight = draw(st.sampled_from(list(model.graph.node))), draw(st.sampled_from(list(model.graph.initializer)))
    match draw(st.integers(0, 8)):
        case 0:
            node.op_type = draw(st.sampled_from(["Relu", "Loop", "If", "Reshape", "Conv", "NoSuchOp", ""]))
        case 1:
            weight.dims[:] = draw(st.lists(st.integers(-1, 2**40), max_size=4))
        case 2:
            model.ir_version = draw(st.integers(-1, 2**31))
        case 3:
            model.opset_import[0].version = draw(st.integers(-1, 1000))
        case 4:
            del node.input[:]
        case 5:
            model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = draw(st.integers(-1, 2**31))
        case 6:
            weight.data_type = draw(st.integers(0, 30))
        case 7:
            model.graph.output[0].name = draw(st.text(max_size=10))
        case _:
            model.metadata_props.add(key="preprocess", value=draw(st.text(max_size=20)))
    path.write_bytes(model.SerializeToString())


_CHANGES: Mapping[str, Callable[[Draw, Path], None]] = {
    CONFIG: _config,
    PERF: _evidence,
    NUMERICS: _evidence,
    "README.md": lambda draw, path: path.write_bytes(_encoded(_spliced(draw, path.read_text("utf-8")))) and None,
    "model.safetensors": _tensors,
    "golden.safetensors": _tensors,
    "onnx/model.onnx": _graph,
}


def _seal(draw: Draw, package: Path) -> None:
    """As the author would: digests of all files, of the artefact in its evidence too, and of the card."""
    try:
        body = json.loads((package / CONFIG).read_text("utf-8"))
        perf = yaml.safe_load((package / PERF).read_text("utf-8"))
        if draw(st.integers(0, 4)):
            digest = describe(package, ["onnx/model.onnx"])["onnx/model.onnx"]
            perf["artefacts"][0] |= {"sha256": digest.sha256, "bytes": digest.bytes}
            (package / PERF).write_text(_as_yaml(perf), "utf-8")
        body.pop("sha256", None)
        listed = [file for file in body["manifest"] if (package / file).is_file()]
        body["manifest"] |= {file: vars(digest) for file, digest in describe(package, listed).items()}
    except (ValueError, LookupError, TypeError, AttributeError, OSError, yaml.YAMLError, RecursionError):
        return
    _write_config(package / CONFIG, body)


def _odd_file(draw: Draw, package: Path, folder: Path) -> None:
    """One of its files is no file, or one more that no manifest names."""
    path = package / draw(st.sampled_from([CONFIG, PERF, "model.safetensors", "onnx/model.onnx", "sitecustomize.py"]))
    path.unlink(missing_ok=True)
    match draw(st.integers(0, 4)):
        case 0:
            path.mkdir()
        case 1:
            os.mkfifo(path)
        case 2:
            path.symlink_to("/etc/passwd")
        case 3:
            path.symlink_to(path.name)
        case _:
            path.write_bytes(b"")


def _table(draw: Draw, bases: Bases, folder: Path, home: Path) -> list[Try]:
    """A latency table with numbers, keys or text changed, under its own name among those of the user."""
    text = bases.table.read_text("utf-8")
    if draw(st.booleans()):
        text = _as_yaml(_changed(draw, yaml.safe_load(text)))
    else:
        text = _spliced(draw, text)
    devices = home / "devices"
    devices.mkdir(parents=True, exist_ok=True)
    name = draw(st.just(bases.table.name) | st.sampled_from(["bench.any.yaml", "bench.mobile-16px.yml", "notes.yaml"]))
    (devices / name).write_bytes(_encoded(text))
    show: list[Try] = [["devices", "show", "bench", "--net", "mobile", "--resolution", px] for px in ("16", "32", "96")]
    others: list[Try] = [
        ["devices", "list"],
        ["devices", "list", "--json"],
        ["devices", "validate", str(devices / name)],
    ]
    return [draw(st.sampled_from(show)), draw(st.sampled_from([*others, ["list", "--device", "bench"]]))]


def _card(draw: Draw, bases: Bases, folder: Path, home: Path) -> list[Try]:
    """A supernet whose card or weights were changed."""
    supernet = Path(shutil.copytree(bases.supernet, folder / "supernet"))
    if draw(st.integers(0, 3)):
        text = (supernet / "card.json").read_text("utf-8")
        with contextlib.suppress(ValueError):
            text = json.dumps(_changed(draw, json.loads(text))) if draw(st.integers(0, 3)) else _spliced(draw, text)
        (supernet / "card.json").write_bytes(_encoded(text))
    else:
        _tensors(draw, supernet / "model.safetensors")
    (home / "supernets").mkdir(parents=True, exist_ok=True)
    shutil.copytree(supernet, home / "supernets" / "stranger")

    def load() -> object:
        return load_supernet(supernet)

    tries: list[Try] = [["info", str(supernet)], ["info", "stranger", "--json"], load]
    return [draw(st.sampled_from(tries)), ["list"]]


def _csv(draw: Draw, bases: Bases, folder: Path, home: Path) -> list[Try]:
    """Times of networks, published times or labels, with cells, columns or text changed."""
    kind = draw(st.sampled_from(sorted(_CSVS)))
    rows = [list(row) for row in _CSVS[kind]]
    for _ in range(draw(st.integers(1, 3))):
        row = draw(st.sampled_from(rows))
        match draw(st.integers(0, 5)):
            case 0:
                row.pop() if row else None
            case 1:
                row.append(draw(TEXT))
            case 2:
                rows.append(row)
            case _:
                if row:
                    row[draw(st.integers(0, len(row) - 1))] = draw(TEXT | NUMBER.map(str) | st.floats().map(str))
    out = io.StringIO()
    with contextlib.suppress(csv.Error):
        csv.writer(out, delimiter=draw(st.sampled_from([",", ",", ",", ";", "\t"]))).writerows(rows)
    text = _spliced(draw, out.getvalue()) if draw(st.integers(0, 2)) == 0 else out.getvalue()
    content = _encoded(text)
    if draw(st.integers(0, 9)) == 0:
        content = draw(st.sampled_from([text.encode("utf-16", errors="replace"), b"", _damaged(draw, content)]))
    path = folder / ("labels.csv" if kind == "labels" else "times.csv")
    path.write_bytes(content)
    if kind == "labels":
        shutil.copy(bases.images / "000.png", folder / "a.png")
        shutil.copy(bases.images / "001.png", folder / "b.png")

        def read_labels() -> object:
            return read_samples(folder, Task.CLS)

        return [read_labels]
    if kind == "published":

        def read_public() -> object:
            return read_published(path)

        return [read_public]
    (home / "devices").mkdir(parents=True, exist_ok=True)
    table = shutil.copy(bases.table, home / "devices" / bases.table.name)
    new = ["--device", "new", "--net", "mobile", "--resolution", "16", "--overwrite"]
    tries: list[Try] = [
        ["devices", "validate", str(table), "--times", str(path)],
        ["devices", "fit", str(path), *new],
        ["devices", "adapt", "--like", "bench", "--measured", str(path), *new],
    ]
    return [draw(st.sampled_from(tries))]


def _rows_of_times() -> Sequence[Sequence[str]]:
    from zoo.devices.onboard import sample_networks
    from zoo.devices.times import times_text

    networks = sample_networks("mobile", 16, 12)
    return list(csv.reader(io.StringIO(times_text(networks, [1.0 + i / 7 for i in range(len(networks))]))))


_CSVS: dict[str, Sequence[Sequence[str]]] = {
    "labels": [["file", "label"], ["a.png", "cat"], ["b.png", "dog"]],
    "published": [
        ["model", "device", "runtime", "precision", "latency_ms", "compute_unit", "layers", "layers_cpu"],
        ["mobilenet_v2", "Samsung Galaxy S24", "qnn_dlc", "float", "0.9", "NPU", "71", "0"],
        ["resnet18", "Samsung Galaxy S24", "qnn_dlc", "float", "1.1", "NPU", "53", "0"],
    ],
}

ATTACKS: Mapping[str, Callable[[Draw, Bases, Path, Path], list[Try]]] = {
    "package": _package,
    "table": _table,
    "card": _card,
    "csv": _csv,
}


def attack(kind: str, draw: Draw, bases: Bases, folder: Path) -> list[Outcome]:
    """Write one stranger's input into an empty ``folder``, and try the commands that read such."""
    if "times" not in _CSVS:
        _CSVS["times"] = _rows_of_times()
    home = folder / "home"
    home.mkdir()
    before = os.environ.get("ZOO_HOME")
    os.environ["ZOO_HOME"] = str(home)
    try:
        return [attempt(one) for one in ATTACKS[kind](draw, bases, folder, home)]
    finally:
        os.environ.pop("ZOO_HOME") if before is None else os.environ.update(ZOO_HOME=before)


def shortened(fault: str) -> str:
    """A fault without what changes from try to try, to count the kinds."""
    return re.sub(r"/\S*?/|0x[0-9a-f]+|\d{3,}", "…", fault.splitlines()[-1])[:160]
