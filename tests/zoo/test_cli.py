import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import zoo.make.search
import zoo.package.card
from export.errors import ComparisonFailed
from export.types import ExportReport
from hardware_profiles.types import LatencyTable
from search.errors import InfeasibleBudget
from search.types import Architecture
from tests.zoo.small_files import run
from zoo.cli.app import COMMANDS, GROUPS, program
from zoo.make.search import Made
from zoo.types import ModelCard

ROOT = Path(__file__).parents[2]
NEAREST = Architecture(net="mobile", choices=(), resolution_px=32)


def search_that(monkeypatch: pytest.MonkeyPatch, outcome: BaseException | Made) -> None:
    def search(*args: object, **kwargs: object) -> Made:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(zoo.make.search, "search", search)


def searched(tmp_path: Path) -> Result:
    return run("search", "--images", tmp_path, "--budget", "1ms", "-o", tmp_path / "out")


@pytest.mark.parametrize(
    ("args", "code", "complaint"),
    [
        (["nope"], 2, "No such command 'nope'"),
        (["search"], 2, "Missing option '--images'"),
        (["search", "--images", ".", "--budget", "1ms", "-o", "x", "--task", "fly"], 2, "'fly' is not one of"),
        (["search", "--images", ".", "--budget", "1parsec", "-o", "x"], 2, "budget '1parsec' is not a number"),
        (["list", "--jsn"], 2, "No such option: --jsn"),
        (["devices", "shw"], 2, "No such command 'shw'"),
        (["devices", "show", "pixel"], 1, "device 'pixel' has no latency table; nearest: "),
        (["devices", "measure", "--net", "mobil"], 1, "nearest: mobile"),
        (["benchmark", "x", "--threads", "100000"], 2, "less than or equal to 256"),
        (["info", "resnet50"], 1, "nearest: data-mocov2-"),
        (["get", "/nowhere"], 1, "is no package"),
        (["pretrain", "--images", ".", "-o", "x", "--net", "mobil"], 1, "nearest: mobile"),
        (["pretrain", "--images", ".", "-o", "x", "--epochs", "nan"], 2, "epochs is nan"),
        (["pretrain", "--images", ".", "-o", "x", "--epochs", "1", "--max-minutes", "1"], 2, "give one of them"),
        (["pretrain", "--images", ".", "-o", "x", "--from", "mobile-mocov3"], 1, "nearest: mobile-mocov2"),
        (["pretrain", "-o", "x"], 2, "--images is missing; name a folder"),
        (["pretrain", "-o", "x", "--import-gaia", "none.pth"], 1, "none.pth cannot be read (No such file"),
        (["pretrain", "-o", "x", "--import-gaia", "none.pth", "--objective", "moco"], 1, "nearest: mocov2"),
        (["pretrain", "--images", ".", "-o", "x", "--precision", "fp8"], 2, "'fp8' is not one of"),
        (["pretrain", "--images", ".", "-o", "x", "--lr", "0"], 2, "lr is 0.0; it must be a finite number above 0"),
        (["pretrain", "--images", ".", "-o", "x", "--loss-weights", "0", "1", "1"], 2, "the first one above 0"),
        (["pretrain", "--images", ".", "-o", "x", "--teacher-weight", "0.5"], 2, "no teacher is named; name one with"),
    ],
)
def test_a_failure_is_one_line_on_stderr_and_a_code(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, args: list[str], code: int, complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*args)
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1 and result.stderr.startswith("zoo: ")
    assert complaint in result.stderr
    assert not (tmp_path / "x").exists()


def test_every_kind_of_failed_search_has_its_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, report: ExportReport
) -> None:
    infeasible = InfeasibleBudget(asked=1, reachable=2.5, unit="ms", nearest=NEAREST)
    outcomes = [(infeasible, 3), (ComparisonFailed(report), 4), (KeyboardInterrupt(), 130), (ZeroDivisionError(), 1)]
    for outcome, code in outcomes:
        search_that(monkeypatch, outcome)
        result = searched(tmp_path)
        assert result.exit_code == code and len(result.stderr.splitlines()) == 1 and result.stdout == ""
    assert "fault of the zoo: ZOO_DEBUG=1" in result.stderr


def test_the_traceback_is_there_for_those_who_ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    search_that(monkeypatch, ZeroDivisionError("x"))
    monkeypatch.setenv("ZOO_DEBUG", "1")
    assert "Traceback" in searched(tmp_path).stderr


def test_a_finished_search_ends_with_paths_times_and_what_to_do_next(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, card: ModelCard
) -> None:
    search_that(monkeypatch, Made(path=Path("out"), card=card))
    result = searched(tmp_path)
    assert result.exit_code == 0
    assert "predicted 0.500 ms (measured table), measured" in result.stdout and "MB" in result.stdout
    assert "next:\n  zoo info" in result.stderr


def test_json_is_all_of_stdout_and_quiet_is_no_talk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, card: ModelCard
) -> None:
    search_that(monkeypatch, Made(path=Path("out"), card=card))
    args = ("search", "--images", tmp_path, "--budget", "1ms", "-o", tmp_path / "out", "--json", "--quiet")
    result = run(*args)
    assert json.loads(result.stdout)["card"]["name"] == card.name
    assert result.stderr == ""


def test_info_prints_the_card_of_a_package(pristine: Path, home: Path) -> None:
    text, document = run("info", pristine), run("info", pristine, "--json")
    assert "non-commercial: research" in text.stdout and "onnx/model.onnx" in text.stdout
    assert json.loads(document.stdout)["reports"][0]["predicted_ms"] == 0.5


def test_get_copies_a_package_whole(pristine: Path, home: Path, tmp_path: Path) -> None:
    result = run("get", pristine, "--to", tmp_path / "copy", "--verify")
    assert result.exit_code == 0 and result.stdout == f"{tmp_path / 'copy'}\n"
    assert run("get", tmp_path / "copy", "--verify", "--json", "-q").exit_code == 0
    again = run("get", pristine, "--to", tmp_path / "copy")
    assert again.exit_code == 2 and "--overwrite" in again.stderr


def test_get_of_a_damaged_package_writes_nothing(pristine: Path, home: Path, tmp_path: Path) -> None:
    import shutil

    bad = Path(shutil.copytree(pristine, tmp_path / "bad"))
    (bad / "model.safetensors").write_bytes(b"x")
    result = run("get", bad, "--to", tmp_path / "copy")
    assert result.exit_code == 1 and "model.safetensors has 1 bytes" in result.stderr
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("bad", "home")] == []


def test_list_and_devices_speak_json(home: Path, own_table: LatencyTable) -> None:
    assert all(one["name"] for one in json.loads(run("list", "--json").stdout))
    assert own_table.device.id in {table["device_id"] for table in json.loads(run("devices", "list", "--json").stdout)}
    shown = run("devices", "show", "this", "--resolution", 16, "--json")
    assert json.loads(shown.stdout)["device"]["chip"] == own_table.device.chip
    assert "predicted within 2.5 %" in run("devices", "show", "this", "--resolution", 16).stdout


def test_env_prints_versions_and_folders_and_no_secrets(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    result = run("env", "--json")
    facts = json.loads(result.stdout)
    assert facts["cache"] == str(home) and facts["torch"] and facts["onnxruntime"] and "processor" in facts
    assert "secret" not in result.stdout


EVERY = [*COMMANDS, *(f"{group} {name}" for group, (_, names) in GROUPS.items() for name in names)]


@pytest.mark.parametrize("args", EVERY)
def test_every_command_has_json_and_quiet_alone_or_among_all(args: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = run(*args.split(), "--help").stdout
    assert "--json" in text and "--quiet" in text
    assert CliRunner().invoke(program(args.split()[0]), [*args.split(), "--help"]).stdout == text


def test_a_word_that_is_no_command_gets_the_help_of_all() -> None:
    assert {*COMMANDS, *GROUPS} <= set(CliRunner().invoke(program("--help"), ["--help"]).stdout.split())


def test_the_program_itself_fails_in_one_line_without_color(tmp_path: Path) -> None:
    environment = {**os.environ, "ZOO_HOME": str(tmp_path / "home"), "FORCE_COLOR": "", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "zoo", "search", "--images", str(tmp_path), "--budget", "1", "-o", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and "\x1b" not in done.stderr and "1 is" not in done.stderr
