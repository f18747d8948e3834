"""A fine-tuned package goes wherever any other goes, and comes back whole."""

import json
from pathlib import Path

import numpy as np
import pytest
from hub_names import REPO
from hub_server import HubServer
from PIL import Image
from typer.testing import CliRunner, Result

from search.labels.read import read_split
from search.nets import Backbone
from search.types import Task
from zoo.catalogue.get import get
from zoo.cli.app import program
from zoo.make.finetune import Recipe, finetune_backbone
from zoo.package.card import read_card
from zoo.types import ModelCard, no_progress, silent


def run(*args: object) -> Result:
    result = CliRunner().invoke(program(), [str(arg) for arg in args])
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
    run("push", detector, REPO)
    assert not [file for file in server.files(REPO) if file.startswith("training/")]
    run("pull", f"{REPO}@v1", "-o", tmp_path / "pulled", "--verify")
    assert read_card(tmp_path / "pulled") == read_card(detector)
    picture = tmp_path / "cells" / "3.png"
    boxes = [get(where, verify=True).predict([picture])[0].boxes for where in (detector, tmp_path / "pulled", REPO)]
    assert boxes[0] and boxes[0] == boxes[1] == boxes[2]


def test_a_fine_tuned_package_says_what_it_is_and_how_fast_the_whole_is(detector: Path, tmp_path: Path) -> None:
    about = read_card(detector)
    assert about.head is not None
    assert (about.task, about.head.classes, about.preprocess.fit) == (Task.DET, ("cell",), "letterbox")
    told = run("info", detector).stdout
    for figure in about.evaluation:
        assert f"{figure.data} {figure.metric}" in told
    assert "mAP50" in told and "judged on 2 that chose the weights, onnx fp32" in told
    (report,) = about.reports
    assert report.measured is not None
    rows = json.loads(run("benchmark", detector, "--json").stdout)["rows"]
    assert {row["file"] for row in rows} == {report.path.as_posix()}
    named = json.loads((detector / "curve.json").read_text())
    assert named["settings"]["head"]["classes"] == ["cell"] and len(named["rows"]) == 1
