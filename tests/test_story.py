"""The whole story on 64 images: train a supernet, measure, search, export, package, get."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

import zoo
from search.errors import InfeasibleBudget
from search.images.read import read_images
from search.oneshot.pretrain import pretrain
from search.recipes import Recipe, quick
from zoo.devices.tables import table_for


def test_images_become_a_supernet_and_a_verified_package_whose_onnx_says_the_same(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    recipe = quick(Recipe(net="resnet"))
    supernet = pretrain(
        recipe, read_images(image_folder, size_px=32).pixels, tmp_path / "supernet", name="story", data={"name": "made"}
    )
    table = table_for("this", "resnet", recipe.resolution_px).latencies
    assert set(supernet.net.op_keys(recipe.resolution_px)) <= set(table.entries)

    made = zoo.search(image_folder, budget="1000ms", supernet=tmp_path / "supernet", out=tmp_path / "package")
    (report,) = made.card.reports
    assert report.comparison.passed and report.measured is not None and report.predicted_ms is not None

    model = zoo.get(tmp_path / "package", verify=True)
    x = model.preprocess([image_folder / "000.png", image_folder / "001.png"])
    embeddings = model(x)
    session = onnxruntime.InferenceSession(str(model.onnx_path), providers=["CPUExecutionProvider"])
    (again,) = session.run(["embedding"], {"input": x.numpy()})
    assert np.allclose(embeddings.detach().numpy(), again, atol=1e-4)
    assert torch.equal(embeddings, zoo.get(made.path)(x))

    with pytest.raises(InfeasibleBudget, match="ask for at least"):
        zoo.search(image_folder, budget="0.0001ms", supernet=tmp_path / "supernet", out=tmp_path / "none")
    assert not (tmp_path / "none").exists()
