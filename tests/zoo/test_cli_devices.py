"""The commands ``zoo devices list | show | validate | sample | fit | adapt``, as a user types them."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from hardware_profiles import LatencyTable, find_table, save_table
from hardware_profiles.estimate import estimate_ms
from hardware_profiles.tables.find import ALIASES, keep_table
from search.nets import NETS
from search.types import Architecture
from tests.zoo import small_files
from zoo.devices.onboard import sample_networks
from zoo.devices.times import times_text
from zoo.home import own_tables

ROOT = Path(__file__).parents[2]
NET = NETS["mobile"]

run = partial(small_files.run, "devices")


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def raspi4() -> LatencyTable:
    return find_table("raspi4", net="mobile", resolution_px=32)


@pytest.fixture(scope="module")
def ten() -> list[Architecture]:
    return sample_networks("mobile", 32, 10)


def document(*args: object) -> object:
    result = run(*args, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_list_is_filtered_and_says_source_and_error() -> None:
    clouds = document("list", "--kind", "cloud", "--precision", "fp32")
    assert {"titan-rtx", "2080ti"} <= {row["device_id"] for row in clouds}
    assert {row["device"]["kind"] for row in clouds} == {"cloud"}
    (phone,) = [row for row in document("list", "--runtime", "tensorflow") if row["device_id"] == "pixel3"]
    assert phone["device"]["source"] == "fitted" and phone["validation"]["networks"] == 1000
    line = next(line for line in run("list").stdout.splitlines() if line.startswith("raspi4"))
    assert "edge" in line and "fitted" in line and "0.00 %" in line  # `show` has the number of networks
    assert document("list", "--runtime", "abacus") == []


def test_the_list_leaves_out_a_damaged_table_and_says_so() -> None:
    own_tables().mkdir(parents=True)
    (own_tables() / "bad.mobile-32px.yaml").write_text("schema: 9\n", "utf-8")
    result = run("list")
    assert result.exit_code == 0 and "left out:" in result.stderr and "raspi4" in result.stdout


def test_a_table_without_sense_is_left_out_of_the_list_and_refused_by_show(raspi4: LatencyTable) -> None:
    def keep(name: str, table: LatencyTable) -> str:
        return keep_table(replace(table, device=replace(table.device, id=name)), own_tables()).read_text("utf-8")

    some = dict(list(raspi4.entries.items())[5:])
    keep("no-stem", replace(raspi4, entries=some))
    keep("negative", replace(raspi4, overhead_ms=-1.01 * sum(one.median_ms for one in raspi4.entries.values()) / 4))
    text = re.sub(r"(median|p90)_ms: [0-9.]+", r"\1_ms: 0", keep("zero", raspi4))
    text = re.sub(r"overhead_ms: [0-9.]+", "overhead_ms: 0", text)
    (own_tables() / "zero.mobile-32px.yaml").write_text(text, "utf-8")
    (own_tables() / "notes.yaml").write_text("remember: the milk\n", "utf-8")
    listed = run("list")
    assert listed.exit_code == 0 and "notes.yaml" in listed.stderr and "zero.mobile-32px.yaml" in listed.stderr
    for name, said in (("zero", "no time"), ("no-stem", "blocks are missing"), ("negative", "a time is above 0")):
        shown = run("show", name)
        assert shown.exit_code == 1 and said in shown.stderr, name
    assert run("show", "raspi4").exit_code == 0


def test_a_cost_model_is_listed_shown_and_made_from_published_times(tmp_path: Path) -> None:
    (row,) = [row for row in document("list", "--runtime", "qnn") if row["device_id"] == "rb3-gen2-int8"]
    assert (row["net"], row["resolution_px"], row["device"]["source"]) == ("any", 0, "fitted")
    shown = document("show", "rb3-gen2-int8")
    assert (shown["net"], shown["resolution_px"]) == ("mobile-photo", 224) and len(shown["entries"]) > 50
    assert run("show", "rb3-gen2-int8", "--resolution", 64).exit_code == 1
    head = "model,device,runtime,precision,latency_ms,compute_unit,layers,layers_cpu"
    models = "resnet18 resnet34 resnet50 mobilenet_v2 googlenet squeezenet1_1 densenet121 alexnet".split()
    rows = [f"{name},My Board,qnn_dlc,float,{i + 2}.5,NPU,50," for i, name in enumerate(models)]
    (tmp_path / "t.csv").write_text("\n".join([head, *rows]), "utf-8")
    command = ("fit-public", tmp_path / "t.csv", "--models", "torchvision")
    assert run(*command, "--device", "my-board").exit_code == 0
    assert run(*command, "--device", "my-board").exit_code == 2
    assert run(*command, "--device", "My Board").exit_code == 1
    assert run(*command).exit_code == 2
    assert run("show", "my-board").exit_code == 0


def test_the_list_needs_no_torch() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from zoo.cli.app import program;"
        "assert CliRunner().invoke(program('devices'), ['devices', 'list']).exit_code == 0;"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_table_shows_where_it_comes_from_and_can_be_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert document("show", "cloud")["device_id"] == ALIASES["cloud"]
    shown = document("show", "titan-rtx", "--plot", tmp_path / "plot.png")
    assert shown["device_id"] == "titan-rtx" and shown["device"]["license"] == "MIT"
    assert len(shown["checks"]) == 200 and len(shown["entries"]) == 104
    assert [path.name for path in tmp_path.glob("*.png")] == ["plot.png"]
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    wrong = run("show", "titan-rtx", "--plot", tmp_path / "plot.mp3")
    assert wrong.exit_code == 2 and list(tmp_path.glob("*mp3*")) == []


def test_a_table_without_checks_cannot_be_drawn(tmp_path: Path, raspi4: LatencyTable) -> None:
    keep_table(replace(raspi4, device=replace(raspi4.device, id="bare"), checks=()), own_tables())
    assert run("show", "bare", "--plot", tmp_path / "plot.png").exit_code == 1


def test_another_resolution_is_never_scaled_silently(raspi4: LatencyTable) -> None:
    shown = document("show", "raspi4", "--resolution", 64)
    assert shown["device"]["source"] == "estimated" and shown["validation"] is None
    assert shown["scaling"]["from_px"] == 32
    assert "estimated, 104 blocks, scaled from 32 px, " in run("show", "raspi4", "--resolution", 64).stdout


def test_the_error_of_scaling_is_that_of_a_device_measured_at_both(raspi4: LatencyTable) -> None:
    from hardware_profiles import resize_table

    measured = replace(raspi4.device, id="bench", source="measured")
    at_64 = replace(resize_table(raspi4, 64), device=measured, scaling=None, scale=1.25, overhead_ms=0.0)
    keep_table(replace(raspi4, device=measured, overhead_ms=0.0), own_tables())
    keep_table(at_64, own_tables())
    scaling = document("show", "pixel3", "--resolution", 64)["scaling"]
    assert scaling == {"from_px": 32, "mape_percent": 20.0, "seen_on": "bench"}  # 1 / 1.25 is 20 % too little


def test_a_table_is_valid_or_not(tmp_path: Path, raspi4: LatencyTable) -> None:
    assert document("validate", "raspi4")["validation"]["mape_percent"] < 0.1
    broken = replace(raspi4, entries=dict(list(raspi4.entries.items())[:10]))
    result = run("validate", save_table(broken, tmp_path / "t.yaml"))
    assert result.exit_code == 1 and "has no time for" in result.stderr and "measure it:" in result.stderr
    assert run("validate", tmp_path / "none.yaml").exit_code == 1


def test_a_new_device_from_sampling_to_showing(tmp_path: Path, raspi4: LatencyTable, ten: list[Architecture]) -> None:
    assert run("sample", "-n", 10).stdout == times_text(ten)
    times = tmp_path / "times.csv"
    times.write_text(times_text(ten, [1.5 * estimate_ms(raspi4, NET.ops(one)) for one in ten]), "utf-8")

    made = document("adapt", "--like", "raspi4", "--measured", times, "--device", "my-board")
    assert made["device"]["source"] == "estimated" and made["validation"]["networks"] == 10
    assert document("show", "my-board")["device"]["kind"] == "edge"
    again = run("adapt", "--like", "raspi4", "--measured", times, "--device", "my-board")
    assert again.exit_code == 2 and "--overwrite" in again.stderr
    checked = document("validate", "my-board", "--times", times)
    assert checked["validation"]["networks"] == 10 and checked["validation"]["mape_percent"] < 1

    too_few = run("fit", times, "--device", "my-board")
    assert too_few.exit_code == 1 and "10 networks are too few" in too_few.stderr
    wrong = run("fit", times, "--device", "my-board", "--kind", "toaster")
    assert wrong.exit_code == 2


def test_a_bad_device_id_writes_nothing(tmp_path: Path, ten: list[Architecture]) -> None:
    times = tmp_path / "times.csv"
    times.write_text(times_text(ten, [float(i + 1) for i in range(10)]), "utf-8")
    result = run("adapt", "--like", "raspi4", "--measured", times, "--device", "../../My Board", "-o", tmp_path / "out")
    assert result.exit_code == 1 and "device.id" in result.stderr
    assert list(tmp_path.iterdir()) == [times]
