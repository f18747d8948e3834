import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from search.images.statistics import load_statistics
from search.nets.cell import CELL
from search.nets.genotype import Origin, read_genotype, read_origin, write_genotype
from search.supernet import load_supernet, save_supernet
from tests.search.small_cells import DARTS_V2, single_network
from zoo.cli.app import program
from zoo.cli.facts import supernet_facts
from zoo.errors import OutputExists
from zoo.make import bundle as module
from zoo.make.bundle import bundle, main
from zoo.make.darts import keep_origin
from zoo.make.darts_seed import GENOTYPE
from zoo.plots import CURVE_PNG

ABOUT = {"data": "40 photos", "terms": "none", "hardware": "a test"}


@pytest.fixture
def run(supernet: Path, tmp_path: Path) -> Path:
    """A finished training, as ``zoo pretrain`` leaves it."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("card.json", "model.safetensors"):
        (folder / name).write_bytes((supernet / name).read_bytes())
    with (folder / "metrics.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["step", "loss_largest"], *([i, 5 - i / 100] for i in range(100))])
    return folder


def test_a_bundled_supernet_has_the_same_weights_and_tells_all(run: Path, image_folder: Path, tmp_path: Path) -> None:
    out = bundle(run, tmp_path / "mine", images=image_folder, **ABOUT, evaluation={"k-NN": {"largest": 0.5}})
    before, after = load_supernet(run), load_supernet(out)
    assert all(torch.equal(tensor, after.weights[name]) for name, tensor in before.weights.items())
    assert (after.card.name, after.card.data["name"], after.card.training["hardware"]) == (
        "mine",
        "40 photos",
        "a test",
    )
    assert after.card.training["curve"]["rows"][-1][0] == 99 and after.card.evaluation == {"k-NN": {"largest": 0.5}}
    assert (out / CURVE_PNG).read_bytes()[:4] == b"\x89PNG" and load_statistics(out)
    shown = CliRunner().invoke(program(), ["info", str(out)]).stdout
    assert "a test" in shown and "largest 0.5" in shown and "loss" in shown
    assert json.loads(CliRunner().invoke(program(), ["info", str(out), "--json"]).stdout)["name"] == "mine"
    assert "teacher" not in after.card.data
    with pytest.raises(OutputExists):
        bundle(run, out, images=image_folder, **ABOUT, evaluation={})
    told = bundle(run, out, images=image_folder, **ABOUT, evaluation={}, teacher="a large one", overwrite=True)
    assert load_supernet(told).card.data["teacher"] == "a large one"
    kept = bundle(told, tmp_path / "again", images=image_folder, **ABOUT, evaluation={})
    assert load_supernet(kept).card.data["teacher"] == "a large one"


def test_a_bundled_network_of_cells_keeps_how_they_were_found(image_folder: Path, tmp_path: Path) -> None:
    architecture = CELL.architecture(DARTS_V2, cells=5, channels=8, resolution_px=16)
    made, genotype = single_network(architecture, "cells"), tmp_path / "found.json"
    made = replace(made, card=replace(made.card, data={"images": 40, "folder": "leaves"}))
    save_supernet(made, tmp_path / "run")
    origin = Origin(images="leaves", terms="free", strategy="darts", epochs=8, seed=1, held_out_loss=3.5)
    write_genotype(DARTS_V2, genotype, origin)
    keep_origin(made, genotype, tmp_path / "run")
    (tmp_path / "run" / "metrics.csv").write_text("step,loss_largest\n0,5\n1,4\n")
    out = bundle(tmp_path / "run", tmp_path / "mine", images=image_folder, **ABOUT, evaluation={})
    assert load_supernet(out).card.data["cells"].startswith("found by darts, seed 1, on leaves")
    assert read_origin(out / GENOTYPE) == origin and read_genotype(out / GENOTYPE) == DARTS_V2


def test_a_bad_evaluation_is_refused_in_one_line_and_nothing_is_written(
    run: Path, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (bad := tmp_path / "bad.json").write_text("[1]")
    words = [f"--{name}={text}" for name, text in ABOUT.items()]
    arguments = [str(run), "-o", str(tmp_path / "x"), f"--images={image_folder}", *words, f"--evaluation={bad}"]
    monkeypatch.setattr(sys, "argv", [module.__name__, *arguments])
    assert main() == 2
    assert len(capsys.readouterr().err.splitlines()) == 1 and not (tmp_path / "x").exists()


def test_info_tells_accuracies_and_where_a_validation_began_and_ended(
    run: Path, image_folder: Path, tmp_path: Path
) -> None:
    looks = {
        "columns": ["step", "images", "knn_largest"],
        "rows": [[9, 640.0, 0.25], [19, 1280.0, None], [29, 1920.0, 0.5]],
    }
    network = {"network": "largest", "params": 1234, "trained": {"knn": 0.45678}, "untrained": {"knn": 0.25}}
    made = load_supernet(bundle(run, tmp_path / "a", images=image_folder, **ABOUT, evaluation={"networks": [network]}))
    card = replace(made.card, training={**made.card.training, "validation": looks})
    told = dict(supernet_facts(card, tmp_path))
    assert told["objective"] == card.objective
    learned = replace(card, recipe={**card.recipe, "teacher": "big.onnx", "teacher_weight": 1.0})
    assert dict(supernet_facts(learned, tmp_path))["objective"].endswith(
        "with 100% of the loss the teacher's, big.onnx"
    )
    assert told["evaluation: networks"] == "largest (1,234 parameters): knn 0.457 (untrained 0.250)"
    assert told["validation"] == "knn largest 0.25 -> 0.5, images seen 640 -> 1,920" and "rows" not in told["training"]
    once = replace(card, training={"validation": {**looks, "rows": looks["rows"][:1]}})
    assert dict(supernet_facts(once, tmp_path))["validation"] == "knn largest 0.25 -> 0.25, images seen 640 -> 640"
    for rows in ([[1, "a", 2]], [[1, 2.0, 3], 4], []):  # strangers'
        strange = replace(card, training={"validation": {**looks, "rows": rows}})
        assert "validation" not in dict(supernet_facts(strange, tmp_path))
    odd = replace(card, training={"validation": {"rows": 3}}, evaluation={"networks": [network, {"trained": "x"}]})
    told = dict(supernet_facts(odd, tmp_path))
    assert "validation" not in told and "1234" in told["evaluation: networks"]
