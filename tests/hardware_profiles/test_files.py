import importlib.util
import math
import string
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardware_profiles import (
    BadProfile,
    Check,
    DeviceProfile,
    Latency,
    LatencyTable,
    Scaling,
    Validation,
    load_head,
    load_table,
    save_table,
)
from hardware_profiles.tables import strict_yaml
from hardware_profiles.tables.strict_yaml import MAX_BYTES
from tests.conftest import refused
from tests.small_tables import DEVICE, FEW, OP_KEYS, VALIDATION, key, table

MS = st.floats(0, 1e9, allow_nan=False)
BLOCK_MS = st.floats(1e-6, 6e4)
TEXT = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "), max_size=60)  # what is printable
NAME = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=20)
COUNT = st.integers(1, 10**9)
PERCENT = st.floats(0, 100)
TABLES = st.builds(
    LatencyTable,
    device=st.builds(
        DeviceProfile,
        id=NAME,
        chip=TEXT,
        runtime=TEXT,
        runtime_version=TEXT,
        reference=TEXT,
        license=TEXT,
        memory_bytes=st.integers(0, 2**50),
        batch=COUNT,
        threads=COUNT,
        kind=st.sampled_from(["point", "edge", "mobile", "cloud"]),
        precision=st.sampled_from(["fp32", "fp16", "int8"]),
        source=st.sampled_from(["measured", "published", "fitted", "estimated"]),
    ),
    net=NAME,
    resolution_px=COUNT,
    entries=st.dictionaries(
        OP_KEYS, st.builds(Latency, median_ms=BLOCK_MS, p90_ms=BLOCK_MS, samples=COUNT), min_size=1, max_size=4
    ),
    overhead_ms=MS,
    scale=st.floats(1e-9, 1e9),
    validation=st.none()
    | st.builds(
        Validation,
        networks=COUNT,
        mape_percent=MS,
        within_5_percent=PERCENT,
        within_10_percent=PERCENT,
        bias_percent=st.floats(-1e9, 1e9),
        kendall_tau=st.floats(-1, 1),
        spearman_rho=st.none() | st.floats(-1, 1),
    ),
    measured_at=TEXT,
    scaling=st.none() | st.builds(Scaling, from_px=COUNT, mape_percent=st.none() | MS, seen_on=TEXT),
    checks=st.lists(st.builds(Check, predicted_ms=MS, measured_ms=MS), max_size=3).map(tuple),
)


@given(TABLES)
@settings(FEW, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_a_table_written_to_a_file_reads_back_as_the_same_table(tmp_path, t):
    assert load_table(save_table(t, tmp_path / "t.yaml")) == t


@given(TABLES)
@settings(FEW, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_the_head_of_a_file_is_that_of_the_table_and_is_read_without_the_blocks(tmp_path, t):
    path = save_table(t, tmp_path / "t.yaml")
    head = load_head(path)
    assert all(getattr(head, name) == getattr(t, name) for name in vars(head))
    before = path.read_text("utf-8").partition("\nentries:")[0]
    path.write_text(before + "\nentries:\n- not a block", "utf-8")
    assert load_head(path) == head
    with pytest.raises(BadProfile):
        load_table(path)


def test_files_read_the_same_without_libyaml(tmp_path, monkeypatch):
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    spec = importlib.util.spec_from_file_location("strict_yaml_alone", strict_yaml.__file__)
    plain = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plain)
    good = replace(table({key(16): 1e-5, key(8): 2.0}, validation=VALIDATION), measured_at="\u00e9 '\U0001f600: #")
    path = save_table(good, tmp_path / "t.yaml")
    assert plain.read_strict_yaml(path) == strict_yaml.read_strict_yaml(path)
    for bad in (BOMB, "[" * 10_000, "a: 1\na: 2\n"):
        path.write_text(bad, "utf-8")
        for module in (plain, strict_yaml):
            with pytest.raises(BadProfile, match=r"anchors|nest|twice"):
                module.read_strict_yaml(path)


def test_a_file_of_schema_1_is_still_read(tmp_path):
    path = save_table(table({key(16): 1.0}, validation=VALIDATION), tmp_path / "t.yaml")
    old = path.read_text("utf-8").replace("schema: 3", "schema: 1").replace("scaling: null\n", "")
    path.write_text(old.replace(", spearman_rho: 0.99, median_percent: null", ""), "utf-8")
    read = load_table(path)
    assert read.validation == replace(VALIDATION, spearman_rho=None)
    assert read.scaling is None and read.checks == ()


def test_numbers_with_exponents_are_numbers_and_text_that_looks_like_one_stays_text(tmp_path):
    path = write(tmp_path, "median_ms: 1.5", "median_ms: 5e-3")
    assert load_table(path).entries[key(16)].median_ms == 0.005
    odd = replace(table({key(8): 1.0}), device=replace(DEVICE, chip="5e-3"), measured_at="2026-11-28")
    assert load_table(save_table(odd, path)) == odd


def test_a_file_has_one_line_a_block_and_its_numbers_have_units(tmp_path):
    lines = save_table(table({key(16): 1e-5, key(8): 2.0}), tmp_path / "t.yaml").read_text("utf-8").splitlines()
    assert lines[-2:] == [
        "- {op: conv 8>16 k3 s1 e1 g1 @16x16, median_ms: 1.0e-05, p90_ms: 1.0e-05, samples: 5}",
        "- {op: conv 8>8 k3 s1 e1 g1 @16x16, median_ms: 2.0, p90_ms: 2.0, samples: 5}",
    ]


def write(folder: Path, old: str, new: str, count: int = 1) -> Path:
    """A good table's file with one thing changed."""
    good = table({key(16): 1.5, key(8): 2.0}, scale=1.25, validation=VALIDATION)
    good = replace(good, checks=(Check(predicted_ms=1.0, measured_ms=1.1),))
    path = save_table(good, folder / "t.yaml")
    content = path.read_text("utf-8")
    assert old in content
    path.write_text(content.replace(old, new, count), "utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("schema: 3", "schema: 4", "schema is 4"),
        ("schema: 3\n", "", "schema is missing"),
        ("schema: 3", "schema: true", "schema"),
        ("net: mobile", "net: ../mobile", "net is"),
        ("net: mobile", "net: mobile\nowner: me", "owner is no known field"),
        ("net: mobile", "net: mobile\nnet: mobile", "appears twice"),
        ("net: mobile", "net: &a mobile", "anchors and aliases"),
        ("net: mobile", "net: !!python/name:os.system ''", "tags are not allowed"),
        ("net: mobile", f"net: {'x' * 2000}", "longer than"),
        ("net: mobile", "? [1]\n: 2", "plain word"),
        ("resolution_px: 32", "resolution_px: 0", "resolution_px is 0"),
        ("resolution_px: 32", "resolution_px: 32.5", "resolution_px is 32.5"),
        ("resolution_px: 32", "resolution_px: '32'", "resolution_px is '32'"),
        ("scale: 1.25", "scale: 0", "scale is 0"),
        ("scale: 1.25", "scale: -1.0", "scale is -1.0"),
        ("scale: 1.25", "scale: .inf", "scale is inf"),
        ("scale: 1.25\n", "", "scale is missing"),
        ("overhead_ms: 0.0", "overhead_ms: .nan", "overhead_ms is nan"),
        ("overhead_ms:", "overhead:", "did you mean overhead_ms?"),
        ("median_ms: 1.5", "median_ms: 7200000.0", "entries[0].median_ms is 7200000.0"),
        ("median_ms: 1.5", "median_ms: 1:59:59", "entries[0].median_ms is '1:59:59'"),
        ("overhead_ms: 0.0", "overhead_ms: -100.0", "take no time"),
        ("median_ms: 1.5", "median_ms: .nan", "entries[0].median_ms is nan"),
        ("median_ms: 1.5", "median_ms: -1.5", "entries[0].median_ms is -1.5"),
        ("median_ms: 1.5", "median_ms: 1.5ms", "entries[0].median_ms is '1.5ms'"),
        ("median_ms: 1.5", "median_ms: null", "entries[0].median_ms is a NoneType"),
        ("median_ms: 1.5", "median: 1.5", "entries[0].median is no known field; did you mean median_ms?"),
        ("median_ms: 1.5, ", "", "entries[0].median_ms is missing"),
        ("p90_ms: 2.0, ", "", "entries[1].p90_ms is missing"),
        ("samples: 5", "samples: 0", "entries[0].samples is 0"),
        ("conv 8>16 k3", "conv 8>16 k0", "entries[0].op"),
        ("conv 8>16 k3", "conv 8>8 k3", "entries[1].op"),
        ("kind: edge", "kind: toaster", "device.kind is 'toaster'"),
        ("kind: edge", "kind: [[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]", "nest"),
        ("threads: 1", "threads: one", "device.threads is 'one'"),
        ("id: board-t1-fp32", "id: ''", "device.id is ''"),
        ("networks: 10", "networks: .inf", "validation.networks is inf"),
        ("kendall_tau: 0.95", "kendall_tau: 2", "validation.kendall_tau is 2"),
        ("spearman_rho: 0.99", "spearman_rho: -3", "validation.spearman_rho is -3"),
        ("scaling: null", "scaling: {from_px: 0, mape_percent: 1.0, seen_on: a}", "scaling.from_px is 0"),
        ("scaling: null", "scaling: {from: 32, mape_percent: 1.0, seen_on: a}", "did you mean from_px?"),
        ("checks: [[1.0, 1.1]]", "checks: [[1.0]]", "checks[0]"),
        ("checks: [[1.0, 1.1]]", "checks: [[1.0, .nan]]", "checks[0][1] is nan"),
    ],
)
def test_a_malformed_table_is_refused_on_one_line_naming_file_and_field(tmp_path, old, new, said):
    path = write(tmp_path, old, new)
    with refused(BadProfile) as error:
        load_table(path)
    assert said in str(error.value)
    assert str(error.value).startswith(f"{path}: ")


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n"
MANY = "{" + ", ".join(f"k{i}: 1" for i in range(2_000)) + "}"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"# nothing\n", "is empty"),
        (b"- 1\n", "holds list"),
        (b"schema: 1", "is missing"),
        (b"a: [1", "line "),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"a: \x00", "characters are not allowed"),
        (b"--- 1\n--- 2\n", "line 2"),
        (b"a: 1" + b":59" * 150_000, "longer than"),
        (BOMB.encode(), "anchors and aliases"),
        (b"[" * 10_000, "nest"),
        (b"schema: 0x" + b"f" * 900, "schema"),
        (b"x" * (MAX_BYTES + 1), "larger than"),
        (b"schema: 1\nentries: []", "is missing"),
        (MANY.encode(), "no known field"),
    ],
)
def test_a_file_that_is_no_table_at_all_is_refused_on_one_line(tmp_path, content, said):
    path = tmp_path / "t.yaml"
    path.write_bytes(content)
    with refused(BadProfile) as error:
        load_table(path)
    assert said in str(error.value)
    assert len(str(error.value)) < 600 + len(str(path))


def test_a_missing_file_and_a_folder_are_refused_on_one_line(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(BadProfile, match="cannot be read"):
            load_table(path)


@pytest.mark.parametrize(
    "bad",
    [
        table({}),
        table({key(8): 0.0}),
        replace(table({key(8): 1.0}), scale=math.nan),
        replace(table({key(8): 1.0}), overhead_ms=float("nan")),
        replace(table({key(8): 1.0}), net="a/b"),
        replace(table({key(8): 1.0}), device=replace(DEVICE, chip="two\nlines")),
        table({key(8, kind="Bad kind"): 1.0}),
    ],
)
def test_a_table_that_could_not_be_read_back_is_not_written(tmp_path, bad):
    path = save_table(table({key(16): 7.0}), tmp_path / "t.yaml")
    before = path.read_bytes()
    with pytest.raises(BadProfile):
        save_table(bad, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    (tmp_path / "t.yaml").mkdir()
    with pytest.raises(BadProfile, match="cannot be written"):
        save_table(table({key(8): 1.0}), tmp_path / "t.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["t.yaml"]
