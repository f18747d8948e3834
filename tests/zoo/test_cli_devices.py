"""The commands ``zoo devices list | show | validate | sample | fit | adapt``, as a user types them."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hardware_profiles import LatencyTable, find_table, save_table
from hardware_profiles.estimate import estimate_ms
from hardware_profiles.tables.find import keep_table
from search.nets import NETS
from search.types import Architecture
from zoo.cli.app import program
from zoo.devices.onboard import sample_networks
from zoo.devices.times import times_text
from zoo.home import own_tables

ROOT = Path(__file__).parents[2]
NET = NETS["mobile"]


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def raspi4() -> LatencyTable:
    return find_table("raspi4", net="mobile", resolution_px=32)


@pytest.fixture(scope="module")
def ten() -> list[Architecture]:
    return sample_networks("mobile", 32, 10)


def run(*args: object) -> Result:
    return CliRunner().invoke(program(), ["devices", *map(str, args)])


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
    assert "edge" in line and "fitted" in line and "1000 networks" in line
    assert document("list", "--runtime", "abacus") == []


def test_the_list_leaves_out_a_damaged_table_and_says_so() -> None:
    own_tables().mkdir(parents=True)
    (own_tables() / "bad.mobile-32px.yaml").write_text("schema: 9\n", "utf-8")
    result = run("list")
    assert result.exit_code == 0 and "left out:" in result.stderr and "raspi4" in result.stdout


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
    shown = document("show", "cloud", "--plot", tmp_path / "plot.png")
    assert shown["device_id"] == "titan-rtx" and shown["device"]["license"] == "MIT"
    assert len(shown["checks"]) == 200 and len(shown["entries"]) == 104
    assert [path.name for path in tmp_path.glob("*.png")] == ["plot.png"]
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    wrong = run("show", "cloud", "--plot", tmp_path / "plot.mp3")
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
