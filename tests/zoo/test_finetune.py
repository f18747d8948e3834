"""A few labels become a whole model: what is packaged is what was trained, and it runs anywhere the same."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.labels.read import read_split
from search.nets import Backbone
from search.types import Task
from zoo.catalogue.get import get
from zoo.errors import BadRequest
from zoo.make.finetune import Recipe, finetune_backbone
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


def test_a_backbone_alone_predicts_nothing(pristine: Path, cells: Path) -> None:
    with pytest.raises(BadRequest, match="is a backbone without a head; `zoo finetune`"):
        predict(pristine, [cells / "det"])
