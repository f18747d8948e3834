import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import zoo.devices.this_machine
from hardware_profiles.errors import NoisyMachine
from hardware_profiles.tables.files import load_table
from hardware_profiles.types import DeviceProfile, LatencyTable
from tests.zoo import small_files
from zoo.devices.names import this_device
from zoo.devices.this_machine import measure_here
from zoo.errors import UnknownName

run = partial(small_files.run, "devices")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, own_table: LatencyTable) -> list[dict[str, Any]]:
    """Timing ends at once, on a quiet machine; what was asked of it, as it happens."""
    calls: list[dict[str, Any]] = []

    def measure_table(*args: Any, device: DeviceProfile, **kwargs: Any) -> LatencyTable:
        calls.append({"networks": len(args[1]), "device": device, **kwargs})
        return replace(own_table, device=device, net=kwargs["net"], resolution_px=kwargs["resolution_px"])

    monkeypatch.setattr(zoo.devices.this_machine, "measure_table", measure_table)
    monkeypatch.setattr(zoo.devices.this_machine, "refuse_noise", lambda watch: None)
    return calls


def test_one_table_for_each_resolution_and_precision(home: Path, asked: list[dict[str, Any]], tmp_path: Path) -> None:
    options = ["--resolution", 32, "--resolution", 64, "--precision", "fp32", "--precision", "int8"]
    done = run("measure", "--net", "resnet", *options, "--threads", 2, "--batch", 4, "-o", tmp_path / "t", "--json")
    assert done.exit_code == 0, done.output
    tables = [load_table(Path(value["path"])) for value in json.loads(done.stdout)]
    assert [(t.resolution_px, t.device.precision) for t in tables] == [
        (32, "fp32"),
        (32, "int8"),
        (64, "fp32"),
        (64, "int8"),
    ]
    assert all((t.device.threads, t.device.batch, t.net) == (2, 4, "resnet") for t in tables)
    assert len({value["path"] for value in json.loads(done.stdout)}) == 4
    assert all(call["networks"] == 32 and call["calibrate_on"] == 16 for call in asked)


def test_an_unfinished_measurement_lies_hidden_beside_the_tables(
    home: Path, asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    run("measure", "-o", tmp_path)
    run("measure", "--precision", "int8", "-o", tmp_path)
    started = [call["started"] for call in asked]
    assert len(set(started)) == 2
    assert all(path.parent == tmp_path and path.name.startswith(".") for path in started)


def test_a_noisy_machine_is_refused_unless_forced(
    home: Path, asked: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(watch: object) -> None:
        raise NoisyMachine("this machine is not quiet: other work keeps 1.00 cores busy; --force")

    monkeypatch.setattr(zoo.devices.this_machine, "refuse_noise", refuse)
    done = run("measure", "-o", tmp_path)
    assert done.exit_code == 1 and "not quiet" in done.stderr and not asked
    assert run("measure", "--force", "-o", tmp_path).exit_code == 0
    assert [call["watch"] for call in asked] == [None]


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--net", "mobil"], 1, "nearest: mobile"),
        (["--runtime", "tflite"], 1, "no runtime is called 'tflite' here; there are onnxruntime"),
        (["--precision", "fp8"], 2, "fp8"),
        (["--threads", "0"], 2, "threads"),
    ],
)
def test_what_cannot_be_measured_is_refused(home: Path, options: list[str], code: int, says: str) -> None:
    done = run("measure", *options)
    assert done.exit_code == code and says in done.stderr


def test_an_unknown_net_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="nearest: mobile"):
        measure_here("mobil", 16)


def test_a_kit_s_result_becomes_a_table_that_the_zoo_finds(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from search.nets import NETS

    keys = NETS["mobile"].op_keys(16)[:3]
    monkeypatch.setattr(
        zoo.devices.this_machine,
        "blocks_of",
        lambda net, px, classes, width_px=None: {key: lambda key=key: net.build_op(key) for key in keys},
    )
    networks = [
        zoo.devices.this_machine.Network(
            ops=(keys[0],) * depth, build=lambda: NETS["mobile"].build_op(keys[0]), input_nchw=(1, 3, 16, 16)
        )
        for depth in range(1, 19)
    ]
    monkeypatch.setattr(zoo.devices.this_machine, "networks_of", lambda *args, **kwargs: networks)
    made = run("kit", "--net", "mobile", "--resolution", 16, "-o", tmp_path / "kit.zip")
    assert made.exit_code == 0 and "python3 kit.zip" in made.stderr
    result = tmp_path / "kit-result.json"
    result.write_text(json.dumps(answer(tmp_path / "kit.zip")))
    done = run("import", result, "--id", "my-board", "--json")
    assert done.exit_code == 0, done.output
    shown = run("show", "my-board", "--net", "mobile", "--resolution", 16)
    assert shown.exit_code == 1 and "blocks are missing" in shown.stderr  # the kit of this test has three of them
    kept = Path(json.loads(done.stdout)["path"])
    before = kept.read_bytes()
    again = run("import", result, "--id", "my-board")
    assert again.exit_code == 2 and "--overwrite" in again.stderr and kept.read_bytes() == before
    assert run("import", result, "--id", "my-board", "--overwrite").exit_code == 0
    for taken in ("raspi4", "galaxy-s24", this_device().id):
        refused = run("import", result, "--id", taken, "--overwrite")
        assert refused.exit_code == 1 and "is the id of" in refused.stderr
    assert run("import", result, "-o", tmp_path / "x.yaml").exit_code == 0
    assert load_table(tmp_path / "x.yaml").device.chip.startswith("Board")
    assert run("import", result, "--kind", "toaster").exit_code == 2
    assert run("import", tmp_path / "kit.zip").exit_code == 1


def answer(kit: Path) -> dict[str, Any]:
    """What the kit would write on a machine where everything takes as long as its name has letters."""
    import zipfile

    with zipfile.ZipFile(kit) as archive:
        document = json.loads(archive.read("kit.json"))
    models = document.pop("models")
    machine = {"chip": "Board 4", "cores": 4, "memory_bytes": 0, "architecture": "aarch64", "threads": 1}
    return {
        "schema": 1,
        "kit": document,
        "machine": machine | {"runtime": "onnxruntime", "runtime_version": "1.19.2"},
        "measured_at": "2026-01-01T00:00:00+00:00",
        "times": {model["name"]: [1e5 * len(model["name"]), 1e5 * len(model["name"]), 3] for model in models},
    }


def test_a_table_that_is_shared_has_a_name_of_its_own(home: Path, asked: list[dict[str, Any]], tmp_path: Path) -> None:
    done = run("measure", "--id", "my-server", "--networks", 100, "-o", tmp_path, "--json")
    assert done.exit_code == 0, done.output
    (kept,) = json.loads(done.stdout)
    assert kept["device"] == load_table(Path(kept["path"])).device.id == "my-server"
    assert asked[0]["networks"] - asked[0]["calibrate_on"] == 100


@pytest.mark.parametrize(
    "options",
    [["--id", "../up"], ["--id", "a" * 100], ["--id", "my-server", "--precision", "fp32", "--precision", "int8"]],
)
def test_an_id_that_cannot_be_is_refused_before_anything_is_measured(
    home: Path, asked: list[dict[str, Any]], options: list[str]
) -> None:
    done = run("measure", *options)
    assert (done.exit_code, asked) == (2, [])
    assert "--id" in done.output
