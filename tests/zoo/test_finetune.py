"""A few labels become a whole model: what is packaged is what was trained, and it runs anywhere the same."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from safetensors import safe_open
from typer.testing import CliRunner

from export.formats.onnx_file import read_onnx
from search.errors import BadLabels, TrainingError
from search.labels.read import read_samples, read_split
from search.nets import Backbone
from search.types import Task
from zoo.catalogue.get import get
from zoo.cli.app import program
from zoo.cli.facts import card_facts
from zoo.errors import BadRequest, UnknownName
from zoo.make.finetune import Recipe, finetune_backbone
from zoo.package.card import read_card
from zoo.package.folder import GOLDEN
from zoo.package.readme import README
from zoo.types import ModelCard, no_progress, silent
from zoo.use.finetune import finetune
from zoo.use.predict import PREDICTIONS, predict
from zoo.use.score import score

PX = 16


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright squares on noise, with boxes and with masks."""
    folder = tmp_path_factory.mktemp("cells")
    rng = np.random.default_rng(0)
    images, rows = [], []
    for part in ("seg/images", "seg/masks", "det", "cls/round", "cls/square"):
        (folder / part).mkdir(parents=True)
    for i in range(10):
        pixels, mask = rng.integers(0, 90, (20, 30, 3), dtype=np.uint8), np.zeros((20, 30), np.uint8)
        x, y = rng.integers(0, 18), rng.integers(0, 8)
        pixels[y : y + 10, x : x + 10], mask[y : y + 10, x : x + 10] = 230, 1
        for place in ("det", "seg/images", f"cls/{('round', 'square')[i % 2]}"):
            Image.fromarray(pixels).save(folder / place / f"{i}.png")
        Image.fromarray(mask).save(folder / "seg" / "masks" / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png"})
        rows.append({"id": i, "image_id": i, "category_id": 1, "bbox": [int(x), int(y), 10, 10]})
    document = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "cell"}]}
    (folder / "det" / "boxes.json").write_text(json.dumps(document))
    return folder


def test_labels_are_read_before_a_network_is_made(cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "zoo.use.finetune.find_exportable", lambda *_, **__: pytest.fail("made before labels were read")
    )
    with pytest.raises(BadLabels):
        finetune("data-mocov2-det-1ms", data=cells / "cls" / "round", out=tmp_path / "out", say=silent)
    with pytest.raises(UnknownName):
        finetune("data-mocov2-nothing-1ms", data=cells / "det", out=tmp_path / "out", say=silent)


def test_a_network_searched_for_one_task_learns_another_and_it_is_said(
    pristine: Path, cells: Path, tmp_path: Path
) -> None:
    pytest.importorskip("pytorch_lightning")
    said: list[str] = []
    short = Recipe(epochs=1, batch=4)
    made = finetune(pristine, data=cells / "det", out=tmp_path / "det", task="det", recipe=short, say=said.append)
    assert made.card.task is Task.DET
    assert any("was searched for cls and learns det" in line for line in said)


@pytest.mark.parametrize("task", list(Task))
def test_a_whole_model_comes_back_and_sees_the_same_by_torch_and_onnx(
    task: Task, cells: Path, backbone: Backbone, card: ModelCard, tmp_path: Path
) -> None:
    pytest.importorskip("pytorch_lightning")
    data, out = cells / str(task), tmp_path / "model"
    made = finetune_backbone(
        backbone,
        card,
        read_split(data, task),
        out,
        data="cells",
        recipe=Recipe(epochs=2, batch=4),
        progress=no_progress,
        say=silent,
    )
    model = get(out, verify=True)
    assert model.card.head is not None
    assert model.card.task is task
    assert model.card.head.classes == made.card.head.classes  # type: ignore[union-attr]
    assert {one.metric for one in model.card.evaluation} == set(made.scores)
    values = [score(out, data=data, artefact=artefact, say=silent).values for artefact in ("torch", "onnx")]
    assert values[0] == pytest.approx(values[1], abs=1e-3)
    pictures = sorted((cells / "det").glob("*.png"))
    (seen,) = model.predict([pictures[0]])
    assert seen.size_px == (30, 20)
    (seen,) = model.predict(Image.open(pictures[0]))
    assert seen.size_px == (30, 20)
    figures = {(one.data, one.metric) for one in read_card(out).evaluation}
    score(out, data=data, keep=True, say=silent)
    assert {(one.data, one.metric) for one in read_card(out).evaluation} == figures | {
        (str(task), metric) for metric in made.scores
    }
    assert (out / "training" / "curve.csv").read_text().count("\n") == 3
    found = predict(out, pictures, out=tmp_path / "seen", min_score=0.0, say=silent)
    rows = json.loads((tmp_path / "seen" / PREDICTIONS).read_text())["pictures"]
    assert len(found) == len(rows) == len(list((tmp_path / "seen").glob("?.png"))) == 10
    assert not list(tmp_path.glob(".model*"))
    if task is Task.CLS:  # two epochs leave too little for int8 to keep
        return
    exported = CliRunner().invoke(
        program(),
        ["export", str(out), "--target", "edge", "-o", str(tmp_path / "edge")]
        + ["--calibration", str(folder_of(pictures, tmp_path / "many")), "--quantize", "8", "--min-agreement", "0"]
        + ["--nms"] * (task is Task.DET),
    )
    assert exported.exit_code == 0, exported.output
    about = read_card(tmp_path / "edge")
    assert {report.target.precision for report in about.reports} == {"fp32", "int8"}
    outputs = {output.name for output in read_onnx(tmp_path / "edge" / about.reports[0].path).outputs}
    told = " ".join(cell for row in card_facts(about, tmp_path) for cell in row)
    readme = (tmp_path / "edge" / README).read_text()
    if task is Task.DET:
        assert outputs == {"boxes", "scores", "detections"}
        assert "pipeline_tag: object-detection" in readme and "and detections, the best 100" in readme
        assert "returns boxes (x0, y0, x1, y1 in pixels of the input) with scores in 1 class: cell" in told
    else:
        assert outputs == {"masks"} and "pipeline_tag: image-segmentation" in readme
        assert "returns masks, a logit at each place in 2 classes" in told
    assert "embedding" not in readme.partition("## Use it")[0] and "embedding" not in told
    with safe_open(tmp_path / "edge" / GOLDEN, "pt") as golden:
        assert outputs - {"detections"} <= set(golden.keys())
        assert {f"onnx/model_int8.onnx {name}" for name in outputs} <= set(golden.keys())
    get(tmp_path / "edge", verify=True)


def folder_of(pictures: list[Path], folder: Path) -> Path:
    """As many as an export needs, each a little different."""
    folder.mkdir()
    for i in range(40):
        with Image.open(pictures[i % len(pictures)]) as image:
            image.rotate(9 * i).save(folder / f"{i}.png")
    return folder


def test_a_backbone_alone_predicts_nothing(pristine: Path, cells: Path) -> None:
    with pytest.raises(BadRequest, match="is a backbone without a head; `zoo finetune`"):
        predict(pristine, [cells / "det"])


def spoiled(data: Path, fault: str) -> str:
    """Do one thing wrong in labelled data; the message that names it."""
    boxes, classes = data / "boxes.json", data / "classes.txt"
    document = json.loads(boxes.read_text()) if boxes.exists() else {}
    rows = document.get("annotations", [])
    match fault:
        case "box outside":
            rows[0]["bbox"] = [25, 5, 10, 10]
            said = r"boxes\.json: 0\.png: box \(25, 5, 35, 15\) reaches out of the picture of 30x20 px"
        case "inverted box":
            rows[0]["bbox"] = [12, 5, -4, 10]
            said = r"boxes\.json: 0\.png: box .* is inverted"
        case "empty box":
            rows[0]["bbox"] = [12, 5, 4, 0]
            said = r"boxes\.json: 0\.png: box .* is empty"
        case "unknown class":
            rows[0]["category_id"] = 7
            said = r"boxes\.json: annotation 0 has category 7, which is not there"
        case "class without boxes":
            document["categories"].append({"id": 2, "name": "ghost"})
            said = r"boxes\.json: class 'ghost' has no box"
        case "image twice":
            document["images"][1]["id"] = 0
            said = r"boxes\.json: image id 0 is there twice"
        case "annotation twice":
            rows[1]["id"] = 0
            said = r"boxes\.json: annotation id 0 is there twice"
        case "annotation without a picture":
            (data / "3.png").unlink()
            said = r"boxes\.json: image '3\.png' is not there"
        case "no format":
            boxes.unlink()
            return r"det has no boxes in a known format; write them as COCO json, VOC xml or YOLO txt"
        case "two formats":
            (data / "0.txt").write_text("0 .5 .5 .1 .1")
            said = r"det has COCO json and YOLO txt; keep the annotations of one format"
        case "damaged json":
            boxes.write_text(boxes.read_text()[:-40])
            return r"boxes\.json is no COCO file"
        case "picture without annotation":
            boxes.unlink()
            for i in range(1, 10):
                (data / f"{i}.txt").write_text("0 .5 .5 .4 .4")
            return r"0\.png: has no annotations; write an empty file if it shows nothing"
        case "label out of range":
            boxes.unlink()
            classes.write_text("cell\n")
            for i in range(10):
                (data / f"{i}.txt").write_text(f"{int(i == 4)} .5 .5 .4 .4")
            return r"4\.txt: class 1 is out of range; there are 1, counted from 0"
        case "truncated picture":
            (data / "5.png").write_bytes((data / "5.png").read_bytes()[:200])
            said = r"5\.png: cannot be read as an image"
        case "mask of another size":
            Image.fromarray(np.zeros((4, 4), np.uint8)).save(data / "masks" / "0.png")
            return r"0\.png: is 4x4 px, its picture 30x20 px"
        case "mask class out of range":
            classes.write_text("ground\ncell\n")
            Image.fromarray(np.full((20, 30), 9, np.uint8)).save(data / "masks" / "0.png")
            return r"0\.png: has class 9; there are 2, counted from 0"
        case "mask in colors":
            Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(data / "masks" / "0.png")
            return r"0\.png: is of mode RGB; a mask is a grey or palette image of class indices"
        case "mask without a picture":
            (data / "images" / "2.png").unlink()
            return r"masks/2\.png: has no picture of that name in images"
        case "picture without a mask":
            (data / "masks" / "2.png").unlink()
            return r"images/2\.png: has no mask of that name in masks"
        case "class without images":
            (data / "empty").mkdir()
            return r"empty: a class without images"
        case "one class":
            shutil.rmtree(data / "round")
            return r"cls has 1 class\(es\) of cls; there must be at least 2"
        case _:
            raise AssertionError(fault)
    if boxes.exists() and document:
        boxes.write_text(json.dumps(document))
    return said


OF_BOXES = (
    "box outside, inverted box, empty box, unknown class, class without boxes, image twice, annotation twice,"
    " annotation without a picture, no format, two formats, damaged json, picture without annotation,"
    " label out of range, truncated picture"
)
OF_MASKS = (
    "mask of another size, mask class out of range, mask in colors, mask without a picture, picture without a mask"
)
FAULTS = [
    (task, fault)
    for task, names in (("det", OF_BOXES), ("seg", OF_MASKS), ("cls", "class without images, one class"))
    for fault in names.split(", ")
]
# Without these no picture is left, or nothing could be left out.
WHOLE = {"no format", "two formats", "damaged json", "one class", "class without boxes", "class without images"}


@pytest.mark.parametrize(("task", "fault"), FAULTS)
def test_what_is_wrong_with_labels_is_one_line_before_any_training(
    task: str, fault: str, cells: Path, supernet: Path, tmp_path: Path
) -> None:
    data, out = tmp_path / "data" / task, tmp_path / "out" / "model"
    shutil.copytree(cells / task, data)
    said = spoiled(data, fault)
    asked = ["finetune", supernet, "--architecture", "smallest", "--task", task, "--data", data, "-o", out]
    result = CliRunner().invoke(program("finetune"), [*map(str, asked), "--quiet"])
    assert result.exit_code == 1, result.stderr
    assert len(result.stderr.splitlines()) == 1 and result.stderr.startswith("zoo: ")
    assert re.search(said, result.stderr), result.stderr
    assert not out.parent.exists()
    if fault not in WHOLE:
        assert result.stderr.endswith("mend it, or leave such out with --skip\n")
        found = read_samples(data, Task(task), skip=True)
        # The annotation of the second picture of one id is left without its picture.
        assert len(found.skipped) == 1 + (fault == "image twice") and 8 <= len(found.samples) <= 10


def test_files_that_are_damaged_in_the_second_epoch_change_nothing(
    cells: Path, backbone: Backbone, card: ModelCard, tmp_path: Path
) -> None:
    pytest.importorskip("pytorch_lightning")
    scores = []
    for run in ("whole", "damaged"):
        data = tmp_path / run / "det"
        shutil.copytree(cells / "det", data)

        def damage(line: str, data: Path = data, run: str = run) -> None:
            if line.startswith("epoch 1") and run == "damaged":
                for path in data.glob("*.png"):
                    path.write_bytes(path.read_bytes()[:100])

        made = finetune_backbone(
            backbone,
            card,
            read_split(data, Task.DET),
            tmp_path / f"{run}-model",
            data="cells",
            recipe=Recipe(epochs=3, batch=4),
            progress=no_progress,
            say=damage,
        )
        scores.append((dict(made.scores), dict(made.onnx_scores), made.per_class))
    assert scores[0] == scores[1]


def test_processes_that_do_not_divide_a_step_are_refused_before_anything_is_read(pristine: Path, cells: Path) -> None:
    pytest.importorskip("pytorch_lightning")
    out = cells.parent / "not-made" / "model"
    for batch, devices, fix in ((5, 3, "take a --batch of 3"), (2, 3, "share it among 2 at most")):
        asked = ["finetune", pristine, "--data", cells / "cls", "-o", out, "--batch", batch, "--devices", devices]
        result = CliRunner().invoke(program("finetune"), [*map(str, asked), "--quiet"])
        assert result.exit_code == 2
        assert result.stderr == f"zoo: {devices} processes share the work, and a step has {batch} images; {fix}\n"
    assert not out.parent.exists()


def test_an_interrupted_run_goes_on_with_the_same_settings_only(
    cells: Path, backbone: Backbone, card: ModelCard, tmp_path: Path
) -> None:
    pytest.importorskip("pytorch_lightning")
    out, recipe = tmp_path / "model", Recipe(epochs=3, batch=4)

    def run(recipe: Recipe, *, resume: bool, stop: str = "never") -> None:
        def heard(line: str) -> None:
            if line.startswith(stop):
                raise KeyboardInterrupt

        split = read_split(cells / "seg", Task.SEG)
        finetune_backbone(
            backbone, card, split, out, data="cells", recipe=recipe, resume=resume, progress=no_progress, say=heard
        )

    with pytest.raises(BadRequest, match="holds no interrupted run; leave --resume out"):
        run(recipe, resume=True)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, resume=False, stop="epoch 2")
    assert [path.name for path in tmp_path.iterdir()] == [".model.finetune"]
    assert not list(tmp_path.glob(".model.finetune/*.pixels"))
    with pytest.raises(BadRequest, match="holds a run with other settings or images"):
        run(replace(recipe, rate=0.5), resume=True)
    run(recipe, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_training_that_diverges_leaves_nothing(
    cells: Path, backbone: Backbone, card: ModelCard, tmp_path: Path
) -> None:
    pytest.importorskip("pytorch_lightning")
    with pytest.raises(TrainingError, match="take a lower --rate"):
        finetune_backbone(
            backbone,
            card,
            read_split(cells / "cls", Task.CLS),
            tmp_path / "model",
            data="cells",
            recipe=Recipe(epochs=20, batch=4, rate=1e30),
            progress=no_progress,
            say=silent,
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_killed_process_ends_the_other_in_one_line_and_the_run_is_resumed_to_the_same_weights(
    pristine: Path, cells: Path, tmp_path: Path
) -> None:
    root, last = Path(__file__).parents[2], tmp_path / ".out.finetune" / "last.ckpt"
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(root)}

    def start(out: str, *more: str) -> subprocess.Popen[str]:
        asked = ["finetune", str(pristine), "--data", str(cells / "cls"), "-o", str(tmp_path / out), "--epochs", "8"]
        command = [sys.executable, "-m", "zoo", *asked, "--batch", "4", "--devices", "2", "-q", *more]
        return subprocess.Popen(command, cwd=root, env=variables, stderr=subprocess.PIPE, text=True)

    def ended(run: subprocess.Popen[str]) -> tuple[int, list[str]]:
        said = run.communicate(timeout=600)[1]
        return run.returncode, said.splitlines()

    def judged_after(seen: float) -> float:
        for _ in range(6000):
            if last.exists() and last.stat().st_mtime > seen:
                return last.stat().st_mtime
            time.sleep(0.05)
        raise AssertionError("nothing was judged in five minutes")

    assert ended(start("whole")) == (0, [])
    run = start("out")
    seen = judged_after(0)
    (other,) = psutil.Process(run.pid).children()
    other.send_signal(signal.SIGKILL)
    code, said = ended(run)
    assert code == 1 and len(said) == 1 and "another process ended before its time" in said[0], said
    run = start("out", "--resume")
    judged_after(seen)
    run.send_signal(signal.SIGTERM)
    code, said = ended(run)
    if code:  # it may have been done already
        assert code == 143 and len(said) == 1 and "--resume goes on from the last one judged" in said[0], said
        assert ended(start("out", "--resume")) == (0, [])
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "out")]
    assert files[0] == files[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]
