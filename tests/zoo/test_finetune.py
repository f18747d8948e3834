"""A few labels become a whole model: what is packaged is what was trained, and it runs anywhere the same."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from typer.testing import CliRunner

from export.formats.onnx_file import read_onnx
from search.labels.read import read_split
from search.nets import Backbone
from search.types import Task
from zoo.catalogue.get import get
from zoo.cli.app import program
from zoo.cli.facts import card_facts
from zoo.errors import BadRequest
from zoo.make.finetune import Recipe, finetune_backbone
from zoo.package.card import read_card
from zoo.package.folder import GOLDEN
from zoo.package.readme import README
from zoo.types import ModelCard, no_progress, silent
from zoo.use.predict import PREDICTIONS, predict
from zoo.use.score import score

PX = 16


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright squares on noise, with boxes and with masks."""
    folder = tmp_path_factory.mktemp("cells")
    rng = np.random.default_rng(0)
    images, rows = [], []
    for part in ("images", "masks"):
        (folder / "seg" / part).mkdir(parents=True)
    (folder / "det").mkdir()
    for i in range(10):
        pixels, mask = rng.integers(0, 90, (20, 30, 3), dtype=np.uint8), np.zeros((20, 30), np.uint8)
        x, y = rng.integers(0, 18), rng.integers(0, 8)
        pixels[y : y + 10, x : x + 10], mask[y : y + 10, x : x + 10] = 230, 1
        for place in ("det", "seg/images"):
            Image.fromarray(pixels).save(folder / place / f"{i}.png")
        Image.fromarray(mask).save(folder / "seg" / "masks" / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png"})
        rows.append({"id": i, "image_id": i, "category_id": 1, "bbox": [int(x), int(y), 10, 10]})
    document = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "cell"}]}
    (folder / "det" / "boxes.json").write_text(json.dumps(document))
    return folder


@pytest.mark.parametrize("task", [Task.DET, Task.SEG])
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
    found = predict(out, pictures, out=tmp_path / "seen", min_score=0.0, say=silent)
    rows = json.loads((tmp_path / "seen" / PREDICTIONS).read_text())["pictures"]
    assert len(found) == len(rows) == len(list((tmp_path / "seen").glob("?.png"))) == 10
    assert not list(tmp_path.glob(".model*"))
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
