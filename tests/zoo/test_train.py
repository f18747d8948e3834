import sys
from pathlib import Path
from types import ModuleType

import pytest

from search.recipes import Recipe
from zoo.errors import BadRecipe, MissingExtra, OutputExists, UnknownName
from zoo.train import recipe_of, train

DEFAULTS = {"net": "mobile", "objective": "mocov2", "epochs": None, "batch": None, "seed": 0, "resolution_px": None}


def test_without_changes_the_recipe_is_the_default() -> None:
    assert recipe_of(**DEFAULTS) == Recipe()


def test_changes_keep_a_recipe_consistent() -> None:
    recipe = recipe_of(**{**DEFAULTS, "batch": 48, "resolution_px": 64, "epochs": 2.5})
    assert recipe.queue % 48 == 0 and recipe.resolution_px == recipe.views.crop_px == 64
    assert (recipe.epochs, recipe.batch) == (2.5, 48)


@pytest.mark.parametrize(
    ("change", "error"), [({"epochs": 0.0}, BadRecipe), ({"batch": 1}, BadRecipe), ({"net": "x"}, UnknownName)]
)
def test_recipes_that_cannot_train_are_refused(change: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        recipe_of(**{**DEFAULTS, **change})


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Training ends at once; what was asked of it, as it happens."""
    asked: list[dict[str, object]] = []

    def pretrain(recipe: Recipe, pixels: object, out: Path, **kwargs: object) -> None:
        (out / "checkpoints").mkdir(parents=True)
        asked.append(kwargs)

    fake = ModuleType("search.oneshot.training")
    fake.pretrain = pretrain  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "search.oneshot.training", fake)
    return asked


def test_an_earlier_run_is_continued_or_replaced_only_when_told(
    trained: list[dict[str, object]], image_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    train(Recipe(), image_folder, out, terms="mine")
    assert trained[0]["name"] == "out" and trained[0]["data"] == {"folder": "images", "terms": "mine"}
    with pytest.raises(OutputExists, match="--overwrite"):
        train(Recipe(), image_folder, out, terms="mine")
    with pytest.raises(OutputExists, match="one of them"):
        train(Recipe(), image_folder, out, terms="mine", resume=True, overwrite=True)
    (out / "mark").write_text("of the earlier run")
    train(Recipe(), image_folder, out, terms="mine", overwrite=True)
    assert not (out / "mark").exists()


def test_without_the_training_libraries_the_pip_line_is_given(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "search.oneshot.training", None)
    with pytest.raises(MissingExtra, match=r'pip install "subnet-zoo\[search\]"'):
        train(Recipe(), image_folder, tmp_path / "out", terms="mine")
