import math
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from search.objectives import OBJECTIVES
from search.recipes import Recipe, recipe_for
from search.running import Running
from zoo.errors import BadRecipe, MissingExtra, OutputExists, UnknownName
from zoo.make.pretrain import Changes, recipe_of, train
from zoo.plots import CURVE_PNG
from zoo.supernets import read_supernet

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


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_gets_its_own_defaults_and_a_queue_that_its_batch_divides(objective: str) -> None:
    recipe = recipe_of(**{**DEFAULTS, "objective": objective, "batch": 48, "resolution_px": 64})
    wanted = recipe_for("mobile", objective)
    assert (recipe.temperature, recipe.ema, recipe.lr) == (wanted.temperature, wanted.ema, wanted.lr)
    assert recipe.queue % 48 == 0 and (recipe.queue > 0) == (wanted.queue > 0)
    assert (recipe.teacher_views is None) == (wanted.teacher_views is None)


def test_a_supernet_to_start_from_says_what_the_user_does_not() -> None:
    card = replace(read_supernet("mobile-mocov2").supernet.card, mean=(0.1, 0.2, 0.3), resolution_px=64)
    given: dict[str, Any] = {**DEFAULTS, "net": None, "objective": None, "start": card}
    recipe = recipe_of(**given)
    assert (recipe.net, recipe.objective, recipe.resolution_px) == ("mobile", "mocov2", 64)
    assert (recipe.hidden_dim, recipe.projection_dim) == card.projection and recipe.views.mean == (0.1, 0.2, 0.3)
    weak = recipe_of(**{**given, "objective": "ressl", "resolution_px": 32, "net": "mobile"})
    assert weak.objective == "ressl" and weak.resolution_px == 32
    assert weak.teacher_views is not None and weak.teacher_views.mean == (0.1, 0.2, 0.3)
    with pytest.raises(BadRecipe, match="mobile-mocov2 is of net mobile and says what to train; leave the rest out"):
        recipe_of(**{**given, "net": "resnet"})


def test_fields_that_the_user_sets_are_the_recipe_s() -> None:
    changes: Changes = {"lr": 0.01, "accumulate": 2, "norm_groups": 4, "distill": 0.5, "slow_start": 0.25}
    recipe = recipe_of(**DEFAULTS, changes={**changes, "random_subnets": 3, "precision": "fp32"})
    assert (recipe.lr, recipe.accumulate, recipe.norm_groups) == (0.01, 2, 4)
    assert (recipe.distill, recipe.slow_start, recipe.random_subnets, recipe.precision) == (0.5, 0.25, 3, "fp32")
    with pytest.raises(BadRecipe, match="batch is 64; 64 parts of 1 group"):
        recipe_of(**DEFAULTS, changes={"accumulate": 64})


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Training ends at once; what was asked of it, as it happens."""
    asked: list[dict[str, object]] = []

    def pretrain(recipe: Recipe, pixels: object, out: Path, **kwargs: object) -> SimpleNamespace:
        (out / "checkpoints").mkdir(parents=True)
        asked.append(kwargs)
        curve = {"columns": ["step", "loss_largest"], "note": "means of 1 steps", "rows": [[0, 5.0], [1, 4.0]]}
        return SimpleNamespace(card=SimpleNamespace(name="out", training={"curve": curve}))

    fake = ModuleType("search.oneshot.pretrain")
    fake.pretrain = pretrain  # type: ignore[attr-defined]
    fake.machines_for = lambda *asked: SimpleNamespace(count=1, devices=1)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "search.oneshot.pretrain", fake)
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
    assert not (out / "mark").exists() and (out / CURVE_PNG).exists()


def test_a_time_is_handed_on_and_must_be_one(
    trained: list[dict[str, object]], image_folder: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    train(Recipe(), image_folder, tmp_path / "out", terms="mine", max_minutes=1.5, say=said.append)
    running = trained[0]["running"]
    assert isinstance(running, Running) and running.devices is None and running.workers is not None
    assert trained[0]["max_minutes"] == 1.5 and said[0].endswith("skipped; 1.5 minutes")
    for minutes in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(BadRecipe, match=r"--max-minutes is .*; it must be a finite number above 0"):
            train(Recipe(), image_folder, tmp_path / "other", terms="mine", max_minutes=minutes)


def test_without_the_training_libraries_the_pip_line_is_given(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "search.oneshot.pretrain", None)
    with pytest.raises(MissingExtra, match=r'pip install "subnet-zoo\[search\]"'):
        train(Recipe(), image_folder, tmp_path / "out", terms="mine")
