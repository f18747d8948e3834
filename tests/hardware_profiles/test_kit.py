import ast
import importlib.util
import json
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest
import torch
from torch import nn

from hardware_profiles import BadKit, MeasureFailed, estimate_ms, load_table, save_table
from hardware_profiles.kit.build import _repeat_weights, build_kit
from hardware_profiles.kit.result import read_result
from tests.conftest import refused
from tests.small_tables import BLOCKS, NETWORKS, SIDE_PX

# What the kit may use; protobuf, which onnxruntime asks for, it does without.
ALLOWED = ("numpy", "numpy.libs", "onnxruntime")


def kit_at(path: Path, **changes) -> Path:
    arguments = {"net": "chain", "resolution_px": SIDE_PX, "calibrate_on": 4} | changes
    return build_kit(BLOCKS, NETWORKS, path, **arguments)


@pytest.fixture(scope="module")
def kit(tmp_path_factory) -> Path:
    return kit_at(tmp_path_factory.mktemp("kit") / "kit.zip")


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """A folder of libraries with numpy and onnxruntime alone."""
    folder = tmp_path_factory.mktemp("bare")
    for name in ALLOWED:
        spec = importlib.util.find_spec(name.partition(".")[0])
        library = Path(spec.submodule_search_locations[0]).with_name(name)
        if library.exists():
            (folder / name).symlink_to(library)
    return folder


def run_kit(kit: Path, bare: Path, *arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run the kit as ``python3 kit.zip`` does, on a Python that finds nothing but the standard library and ``bare``."""
    code = (
        f"import sys, runpy; sys.path.append({str(bare)!r}); sys.argv = {['kit.zip', *arguments]!r}; {before}\n"
        f"runpy.run_path({str(kit)!r}, run_name='__main__')"
    )
    return subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, cwd=kit.parent)


@pytest.fixture(scope="module")
def result(kit, bare) -> Path:
    out = kit.with_name("result.json")
    done = run_kit(kit, bare, "-o", str(out), "--rounds", "2", "--force")
    assert done.returncode == 0, done.stderr
    assert "zoo devices import result.json" in done.stdout
    return out


def test_that_python_finds_neither_torch_nor_us(bare):
    code = f"import sys; sys.path.append({str(bare)!r}); import numpy, onnxruntime; import {{}}"
    for name, fails in (("sys", False), ("torch", True), ("hardware_profiles", True), ("psutil", True)):
        done = subprocess.run([sys.executable, "-I", "-S", "-c", code.format(name)], capture_output=True, text=True)
        assert ("ModuleNotFoundError" in done.stderr) is fails, done.stderr


def test_the_kit_s_program_is_written_for_python_3_9(kit):
    with zipfile.ZipFile(kit) as archive:
        programs = [name for name in archive.namelist() if name.endswith(".py")]
        assert programs == ["__main__.py", "rounds.py"]
        for name in programs:
            ast.parse(archive.read(name), feature_version=(3, 9))


def test_what_a_bare_machine_measures_becomes_a_table(result, tmp_path):
    table = read_result(result, device_id="board", kind="edge")
    assert (table.net, table.resolution_px, len(table.entries)) == ("chain", SIDE_PX, len(BLOCKS))
    assert (table.device.id, table.device.kind, table.device.source) == ("board", "edge", "measured")
    assert table.validation is not None and table.validation.networks == len(NETWORKS) - 4
    assert all(estimate_ms(table, network.ops) > 0 for network in NETWORKS)
    assert load_table(save_table(table, tmp_path / "board.yaml")) == table
    assert read_result(result).device.id.endswith("-t1-fp32")


def test_an_unpacked_kit_runs_too_and_an_interrupted_one_goes_on(kit, bare, tmp_path):
    with zipfile.ZipFile(kit) as archive:
        archive.extractall(tmp_path / "kit")
    out = tmp_path / "r.json"
    interrupt = "import onnxruntime as o, itertools as t; make, left = o.InferenceSession, t.count(20, -1)\n"
    interrupt += "def stop(*a, **k):\n  if next(left): return make(*a, **k)\n  raise KeyboardInterrupt\n"
    interrupt += "o.InferenceSession = stop"
    arguments = ("-o", str(out), "--rounds", "2", "--force")
    stopped = run_kit(tmp_path / "kit", bare, *arguments, before=interrupt)
    assert stopped.returncode == 1 and "interrupted; the same command goes on" in stopped.stderr
    had = sum(len(turns) for turns in json.loads(out.with_name("r.json.part").read_text())["turns"].values())
    assert had == 20 and not out.exists()  # of 28 turns at least
    other = run_kit(tmp_path / "kit", bare, *arguments, "--threads", "2")
    assert other.returncode == 1 and "started by another kit or with other settings" in other.stderr
    done = run_kit(tmp_path / "kit", bare, *arguments)
    assert done.returncode == 0 and f"{had + 1} of " in done.stderr and "\r1 of" not in done.stderr
    # Of two rounds on a busy machine no table can be made; that all was timed is what going on is about.
    models = {model["name"] for model in json.loads((tmp_path / "kit" / "kit.json").read_text())["models"]}
    assert json.loads(out.read_text())["times"].keys() == models
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kit", "r.json"]


def test_a_busy_machine_is_refused_with_the_reason(kit, bare):
    done = run_kit(kit, bare, before="import os; os.getloadavg = lambda: (3.0, 0, 0)")
    assert done.returncode == 1 and "not quiet: its load is 3.0" in done.stderr and "--force" in done.stderr


def test_the_same_kit_is_the_same_file(kit, tmp_path):
    assert kit_at(tmp_path / "again.zip").read_bytes() == kit.read_bytes()


def test_large_weights_take_little_room_and_keep_maps_alive(tmp_path):
    with torch.no_grad():
        layers = [layer for _ in range(8) for layer in (nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.ReLU())]
        module = nn.Sequential(*layers)
        torch.manual_seed(0)
        _repeat_weights(module)
        weights = layers[0].weight.numpy().tobytes()
        assert len(zlib.compress(weights)) < 0.1 * len(weights)
        assert 1e-3 < module(torch.randn(1, 64, 8, 8)).std() < 1e3


def test_an_int8_kit_measures_two_empty_blocks_in_a_row_as_well(bare, tmp_path):
    kit = kit_at(tmp_path / "kit.zip", precision="int8")
    done = run_kit(kit, bare, "-o", str(tmp_path / "r.json"), "--rounds", "1", "--force")
    assert done.returncode == 0, done.stderr
    times = json.loads((tmp_path / "r.json").read_text())["times"]
    assert any(name.startswith("empty twice ") for name in times)
    assert json.loads((tmp_path / "r.json").read_text())["kit"]["precision"] == "int8"


def edited(result: Path, tmp_path: Path, edit) -> Path:
    document = json.loads(result.read_text())
    edit(document)
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(document))
    return path


FIRST = "conv 3>8 k3 s1 e1 g1 @8x8"


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda d: d["times"].update({FIRST: [float("nan"), 1.0, 1]}), "finite"),
        (lambda d: d["times"].update({FIRST: [float("inf"), 1.0, 1]}), "finite"),
        (lambda d: d["times"].update({FIRST: [-5.0, 1.0, 1]}), "greater than or equal to 0"),
        (lambda d: d["times"].update({FIRST: [5.0, 1.0, 0]}), "greater than 0"),
        (lambda d: d["times"].update({FIRST: ["5", 1.0, 1]}), "valid number"),
        (lambda d: d["times"].update({FIRST: [5.0, 1.0]}), "Field required"),
        (lambda d: d["times"].pop(FIRST), "was not timed"),
        (lambda d: d["times"].pop("network 6"), "'network 6' was not timed"),
        (lambda d: d.update(schema=2), "schema is 2, this version reads 1"),
        (lambda d: d.update(schema=True), "schema is True"),
        (lambda d: d.pop("schema"), "schema is None"),
        (lambda d: d.update(extra=1), "extra: Extra inputs are not permitted"),
        (lambda d: d.pop("machine"), "machine: Field required"),
        (lambda d: d["machine"].update(chip="a\x1b[31mb"), "cannot be printed"),
        (lambda d: d["machine"].update(threads=0), "machine.threads"),
        (lambda d: d["kit"].update(net="../../etc"), "kit.net"),
        (lambda d: d["kit"].update(calibrate_on=99), "calibrate_on is 99 of 7"),
        (lambda d: d["kit"]["blocks"].append(d["kit"]["blocks"][0]), "appears twice"),
        (lambda d: d["kit"]["blocks"][0].update(op="rm -rf"), "names no block"),
        (lambda d: d["kit"]["networks"][0].append("conv 9>9 k3 s1 e1 g1 @8x8"), "not among the"),
        (lambda d: [d["times"].update({name: [0.0, 0.0, 1]}) for name in d["times"]], "no longer than empty ones"),
    ],
)
def test_a_result_that_no_kit_writes_is_refused_on_one_line(result, tmp_path, edit, says):
    path = edited(result, tmp_path, edit)
    with refused(BadKit, match=says) as caught:
        read_result(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "1", "[" * 200_000, '{"schema": 1, "schema": 1}', "\xff\xfe"]
)
def test_what_is_no_json_object_is_refused_on_one_line(tmp_path, content):
    path = tmp_path / "r.json"
    path.write_bytes(content.encode("latin-1"))
    with refused(BadKit):
        read_result(path)


def test_a_missing_or_huge_result_is_refused(tmp_path):
    with pytest.raises(BadKit, match="cannot be read: No such file"):
        read_result(tmp_path / "none.json")
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(6_000_000)
    with pytest.raises(BadKit, match="larger than"):
        read_result(tmp_path / "huge.json")


def test_a_kit_that_cannot_be_written_or_makes_no_table_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadKit, match="cannot be written"):
        kit_at(tmp_path / "file" / "kit.zip")
    with pytest.raises(MeasureFailed):
        kit_at(tmp_path / "kit.zip", calibrate_on=0)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
