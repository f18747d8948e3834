"""The commands, and the page on publishing, against the stand-in."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from search.labels.read import read_split
from search.nets import Backbone
from search.types import Task
from tests.hub_server.hub_server import HubServer
from tests.zoo.hub.hub_names import REPO, TOKEN
from tests.zoo.small_files import run
from zoo.catalogue.get import get
from zoo.make.finetune import Recipe, finetune_backbone
from zoo.package.card import read_card
from zoo.types import ModelCard, no_progress, silent

ROOT = Path(__file__).parents[3]


def test_push_and_pull_end_with_what_was_done_and_what_to_do_next(
    server: HubServer, pristine: Path, tmp_path: Path
) -> None:
    pushed = run("push", pristine, REPO, "--private", "-m", "First")
    assert pushed.exit_code == 0 and f"{server.url}/{REPO}/tree/v1" in pushed.stdout and "MB" in pushed.stdout
    assert f"next:\n  zoo pull {REPO}@v1" in pushed.stderr
    pulled = run("pull", f"{REPO}@v1", "-o", tmp_path / "out", "--verify")
    assert pulled.exit_code == 0 and pulled.stdout == f"{tmp_path / 'out'}\n"
    assert run("info", REPO).exit_code == 0 and run("get", f"{REPO}@v1").exit_code == 0
    listed = json.loads(run("cache", "list", "--json").stdout)
    assert [(kept["kind"], kept["name"]) for kept in listed] == [("hub", REPO)]
    assert f"hub   {REPO}" in run("cache", "clean", "*", "--dry-run").stdout
    assert run("cache", "clean", "acme/*").exit_code == 0
    assert json.loads(run("cache", "list", "--json").stdout) == []


def test_a_dry_run_shows_files_sizes_and_the_card(server: HubServer, pristine: Path) -> None:
    text = run("push", pristine, REPO, "--dry-run")
    assert text.exit_code == 0 and "model.safetensors" in text.stdout and "library_name: subnet-zoo" in text.stdout
    document = json.loads(run("push", pristine, REPO, "--dry-run", "--json", "--quiet").stdout)
    assert document["tag"] is None and document["files"]["onnx/model.onnx"] > 0 and server.requests == []


@pytest.mark.parametrize(
    ("args", "code", "complaint"),
    [
        (["push", "absent", REPO], 1, "absent is no package"),
        (["push", "absent", "signs"], 2, "'signs' is not a repository's name"),
        (["pull", "../signs"], 2, "is not a repository's name"),
        (["pull", "acme/absent"], 1, "has nothing there"),
        (["pull", REPO, "--target", "moon"], 1, "no artefact for target 'moon'; it has cloud fp32 for 'bench'"),
        (["cache", "clena"], 2, "No such command 'clena'"),
    ],
)
def test_a_failure_is_one_line_and_a_code(published: HubServer, args: list[str], code: int, complaint: str) -> None:
    result = run(*args)
    assert result.exit_code == code and result.stdout == "" and complaint in result.stderr, result.stderr
    assert len(result.stderr.splitlines()) == 1 and TOKEN not in result.stderr


def test_the_page_works_as_written(
    server: HubServer, pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "hub.md").read_text("utf-8")
    shutil.copytree(pristine, tmp_path / "my-model")
    monkeypatch.chdir(tmp_path)
    for line in re.findall(r"^zoo (?!get)(.*)$", page, re.MULTILINE):
        result = run(*shlex.split(line, comments=True))
        assert result.exit_code == 0, f"{line}: {result.stderr}"
    assert server.store.repos["acme/traffic-signs"].tags.keys() == {"v1"} and (tmp_path / "fetched").is_dir()
    for snippet in re.findall(r"```py\n(.*?)```", page, re.DOTALL):
        exec(snippet, {})


def done(*args: object) -> Result:
    result = run(*args)
    assert result.exit_code == 0, result.stderr
    return result


@pytest.fixture
def detector(backbone: Backbone, card: ModelCard, tmp_path: Path) -> Path:
    pytest.importorskip("pytorch_lightning")
    data, rng = tmp_path / "cells", np.random.default_rng(0)
    data.mkdir()
    (data / "classes.txt").write_text("cell\n")
    for i in range(10):
        Image.fromarray(rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(data / f"{i}.png")
        (data / f"{i}.txt").write_text("0 .5 .5 .4 .4")
    finetune_backbone(
        backbone,
        card,
        read_split(data, Task.DET),
        tmp_path / "detector",
        data="cells",
        recipe=Recipe(epochs=1, batch=4),
        progress=no_progress,
        say=silent,
    )
    return tmp_path / "detector"


def test_a_fine_tuned_package_survives_push_pull_and_verification(
    server: HubServer, detector: Path, tmp_path: Path
) -> None:
    done("push", detector, REPO)
    assert not [file for file in server.files(REPO) if file.startswith("training/")]
    done("pull", f"{REPO}@v1", "-o", tmp_path / "pulled", "--verify")
    assert read_card(tmp_path / "pulled") == read_card(detector)
    picture = tmp_path / "cells" / "3.png"
    boxes = [get(where, verify=True).predict([picture])[0].boxes for where in (detector, tmp_path / "pulled", REPO)]
    assert boxes[0] and boxes[0] == boxes[1] == boxes[2]


def test_a_fine_tuned_package_says_what_it_is_and_how_fast_the_whole_is(detector: Path, tmp_path: Path) -> None:
    about = read_card(detector)
    assert about.head is not None
    assert (about.task, about.head.classes, about.preprocess.fit) == (Task.DET, ("cell",), "letterbox")
    told = done("info", detector).stdout
    for figure in about.evaluation:
        assert f"{figure.data} {figure.metric}" in told
    assert "mAP50" in told and "judged on 2 that chose the weights, onnx fp32" in told
    (report,) = about.reports
    assert report.measured is not None
    rows = json.loads(done("benchmark", detector, "--json").stdout)["rows"]
    assert {row["file"] for row in rows} == {report.path.as_posix()}
    named = json.loads((detector / "curve.json").read_text())
    assert named["settings"]["head"]["classes"] == ["cell"] and len(named["rows"]) == 1
