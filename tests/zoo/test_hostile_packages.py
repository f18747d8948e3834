"""Input of strangers: whatever a name, a manifest or a file says, it ends in one line, and writes nothing."""

import json
import os
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zoo.package.card
from hardware_profiles.tables.strict_yaml import read_plain_yaml
from tests.zoo.small_files import resealed
from zoo.errors import BadPackage, VerificationFailed, ZooError
from zoo.hub.address import find_address
from zoo.names import parse_name
from zoo.package.card import read_card, read_config, read_reports
from zoo.package.folder import load_package
from zoo.package.manifest import Digest, check_manifest

# ``-m slow`` runs as many as the benchmark does.
FEW = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=2500, deadline=None, suppress_health_check=list(HealthCheck))

NASTY = st.sampled_from(
    [
        "..",
        "../x",
        "/etc/passwd",
        "C:\\x",
        "a\\b",
        "\0",
        "\u202e",
        "\uff0f",
        "\ud800",
        "~",
        "CON",
        "a" * 10_000,
        "",
        ".",
    ]
)
TEXT = NASTY | st.text(max_size=40) | st.lists(NASTY, min_size=1, max_size=3).map("/".join)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="session")
def config(pristine: Path) -> str:
    return (pristine / "config.json").read_text("utf-8")


@pytest.fixture(scope="session")
def evidence(pristine: Path) -> tuple[str, str]:
    return (pristine / "perf.yaml").read_text("utf-8"), (pristine / "numerics.yaml").read_text("utf-8")


def complains(read: Any, *args: Any) -> None:
    """It is read, or refused in one printable line."""
    try:
        read(*args)
    except ZooError as error:
        assert len(str(error).splitlines()) <= 1 and len(str(error)) < 2000


def a_name_does_no_harm(text: str) -> None:
    complains(parse_name, text)
    address = find_address(text)
    assert address is None or ".." not in str(address)


def a_manifest_stays_inside(manifest: dict[str, Digest]) -> None:
    try:
        check_manifest(manifest)
    except BadPackage:
        return
    root = Path("/a/package")
    for file in manifest:
        assert (root / file).resolve().is_relative_to(root) and file.isascii()


def a_changed_config_is_refused(config: str, data: st.DataObject) -> None:
    body = json.loads(config)
    body.pop("sha256")
    where: Any = body
    for _ in range(data.draw(st.integers(0, 3))):
        inner = [key for key, value in where.items() if isinstance(value, dict) and value]
        where = where[data.draw(st.sampled_from(inner))] if inner else where
    key = data.draw(st.sampled_from(sorted(where)) | TEXT)
    where[key] = data.draw(VALUE)
    try:
        text = zoo.package.card._sealed(body)
    except (ValueError, UnicodeError):
        return
    complains(read_config, text)


def damaged_text_is_refused(text: str, other: str, data: st.DataObject, read: Any) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    changed = (
        text[:start]
        + data.draw(TEXT | st.sampled_from(["&a [*a]", "!!python/object:os.system x", "{", "- " * 3000]))
        + text[end:]
    )
    complains(read, changed, other)


@FEW
@given(TEXT)
def test_no_name_does_harm(text: str) -> None:
    a_name_does_no_harm(text)


@FEW
@given(
    st.dictionaries(TEXT | TEXT.map("{}.onnx".format), st.builds(Digest, bytes=st.integers(), sha256=TEXT), max_size=5)
)
def test_no_manifest_leads_outside(manifest: dict[str, Digest]) -> None:
    a_manifest_stays_inside(manifest)


@FEW
@given(st.data())
def test_a_config_with_any_value_changed_is_read_or_refused(config: str, data: st.DataObject) -> None:
    a_changed_config_is_refused(config, data)


@FEW
@given(st.data())
def test_damaged_evidence_is_read_or_refused(evidence: tuple[str, str], data: st.DataObject) -> None:
    damaged_text_is_refused(*evidence, data, read_reports)


@pytest.mark.slow
@MANY
@given(TEXT)
def test_no_name_does_harm_in_many_tries(text: str) -> None:
    a_name_does_no_harm(text)


@pytest.mark.slow
@MANY
@given(
    st.dictionaries(TEXT | TEXT.map("{}.onnx".format), st.builds(Digest, bytes=st.integers(), sha256=TEXT), max_size=5)
)
def test_no_manifest_leads_outside_in_many_tries(manifest: dict[str, Digest]) -> None:
    a_manifest_stays_inside(manifest)


@pytest.mark.slow
@MANY
@given(st.data())
def test_a_changed_config_is_read_or_refused_in_many_tries(config: str, data: st.DataObject) -> None:
    a_changed_config_is_refused(config, data)


@pytest.mark.slow
@MANY
@given(st.data())
def test_damaged_evidence_is_read_or_refused_in_many_tries(evidence: tuple[str, str], data: st.DataObject) -> None:
    damaged_text_is_refused(*evidence, data, read_reports)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "a: &x [*x]",
        "[" * 5000,
        "{a: " * 3000,
        "!!python/object/apply:os.getcwd []",
        "!!int x",
        "a: !!timestamp 0",
        "\0",
        "- 1" + ":59" * 330_000,
    ],
)
def test_yaml_that_grows_runs_or_breaks_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="plain YAML"):
        read_plain_yaml(text)
    with pytest.raises(BadPackage):
        read_reports(text, text)


def test_plain_yaml_is_read_as_usual() -> None:
    assert read_plain_yaml("schema: 1\nartefacts:\n- {a: [1, 2.5, x]}\n") == {
        "schema": 1,
        "artefacts": [{"a": [1, 2.5, "x"]}],
    }


@pytest.mark.parametrize("number", ["1" * 5000, "1e999999", "-0", "NaN", '"\\ud800"'])
def test_json_with_odd_numbers_and_letters_is_refused(number: str) -> None:
    with pytest.raises(BadPackage):
        read_config(f'{{"schema": {number}}}')
    with pytest.raises(BadPackage):
        read_config(f'{{"schema": 1, "x": {number}}}')


def test_a_device_or_a_pipe_in_place_of_a_file_is_not_read(package: Path) -> None:
    for file in ("perf.yaml", "config.json"):
        (package / file).unlink()
        os.mkfifo(package / file)
        with pytest.raises(BadPackage):
            read_card(package)


def test_a_graph_that_reads_files_outside_its_folder_is_refused(package: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(4096))
    graph = onnx.load(package / "onnx/model.onnx")
    weight = next(tensor for tensor in graph.graph.initializer if len(tensor.raw_data) >= 64)
    size = len(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "../../secret.bin"), ("length", str(min(size, 4096)))):
        weight.external_data.add(key=key, value=value)
    (package / "onnx/model.onnx").write_bytes(graph.SerializeToString())
    resealed(package)
    with pytest.raises(
        (BadPackage, VerificationFailed), match=r"onnx/model\.onnx (cannot be run|is of another)"
    ) as caught:
        load_package(package, verify=True)
    assert len(str(caught.value).splitlines()) == 1
