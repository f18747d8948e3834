import math
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml
from PIL import Image

from search.objectives import OBJECTIVES
from search.recipes import Recipe, Stage, recipe_for
from search.running import Running
from tests.conftest import structured_image
from tests.zoo.small_files import run
from zoo.errors import BadRecipe, MissingExtra, NotEnoughMemory, OutputExists, UnknownName
from zoo.make.dry_run import dry_run, refuse_too_much
from zoo.make.pretrain import Changes, recipe_of, train
from zoo.make.settings import read_settings, with_settings
from zoo.plots import CURVE_PNG
from zoo.supernets import read_supernet

DEFAULTS: dict[str, Any] = dict.fromkeys(("net", "objective", "epochs", "batch", "resolution_px")) | {"seed": 0}


def test_without_changes_the_recipe_is_the_default() -> None:
    assert recipe_of(**DEFAULTS) == recipe_for("resnet-photo", "mocov2")
    assert recipe_of(**{**DEFAULTS, "net": "mobile"}) == Recipe()


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
    wanted = recipe_for("resnet-photo", objective)
    assert (recipe.temperature, recipe.ema, recipe.lr) == (wanted.temperature, wanted.ema, wanted.lr)
    assert recipe.queue % 48 == 0 and (recipe.queue > 0) == (wanted.queue > 0)
    assert (recipe.teacher_views is None) == (wanted.teacher_views is None)


def test_a_supernet_to_start_from_says_what_the_user_does_not() -> None:
    card = replace(read_supernet("mobile-mocov2").supernet.card, mean=(0.1, 0.2, 0.3), resolution_px=64)
    given = {**DEFAULTS, "start": card}
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


def test_any_field_can_be_set_from_the_command_line_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("queue: 512\nema: [0.5, 0.9]\nnet: resnet\n")
    settings = read_settings(file, ["queue=4096", "views.blur_p=0.5", "optimizer=adamw", "elastic=[1.0, 0.75]"])
    recipe = recipe_of(**DEFAULTS, settings=settings)
    assert (recipe.queue, recipe.ema, recipe.net, recipe.optimizer) == (4096, (0.5, 0.9), "resnet", "adamw")
    assert (recipe.views.blur_p, recipe.elastic) == (0.5, (1.0, 0.75))


def test_a_recipe_in_a_file_is_that_recipe(tmp_path: Path) -> None:
    recipe = recipe_of(**{**DEFAULTS, "objective": "ressl", "batch": 48})
    (tmp_path / "card.json").write_text(yaml.safe_dump({"recipe": yaml.safe_load(yaml.safe_dump(plain(recipe)))}))
    assert recipe_of(**DEFAULTS, settings=read_settings(tmp_path / "card.json")) == recipe


def plain(value: Any) -> Any:
    if isinstance(value, Recipe):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize(
    ("assignment", "complaint"),
    [
        ("queue", "--set 'queue' is not FIELD=VALUE"),
        ("queu=1", "a recipe has no field 'queu'; nearest: queue"),
        ("views.x=1", "a recipe has no field 'views.x'"),
        ("lr=fast", "lr is 'fast': Input should be a valid number"),
        ("lr=-1", "lr is -1"),
        ("queue=100", "queue is 100, no multiple of batch 64"),
        ("optimizer=lars", "optimizer is 'lars'"),
        ("lr=[", "is not one of YAML"),
    ],
)
def test_what_is_no_setting_is_one_line(assignment: str, complaint: str) -> None:
    with pytest.raises(BadRecipe, match=complaint.replace(".", r"\.").replace("[", r"\[")) as caught:
        with_settings(Recipe(), read_settings(None, [assignment]))
    assert "\n" not in str(caught.value)


def test_the_defaults_follow_the_net_and_the_batch() -> None:
    assert recipe_of(**{**DEFAULTS, "net": "resnet-ar50to101"}).resolution_px == 224
    large, small = (recipe_of(**{**DEFAULTS, "net": "mobile", "batch": batch}) for batch in (1024, 16))
    assert (large.queue, round(large.lr, 3)) == (4096, 0.24)
    assert (small.queue, small.lr) == (256, Recipe().lr)


def test_a_dry_run_tells_what_the_training_will_cost_and_keeps_nothing(
    image_folder: Path, home: Path, tmp_path: Path
) -> None:
    recipe = Recipe(net="resnet", batch=16, queue=64, epochs=1000, random_subnets=0, precision="fp32")
    small = replace(recipe, stages=(Stage(until=0.5, crop_px=8), Stage(until=1.0, crop_px=16)))
    found = dry_run(small, image_folder)
    assert found.steps == small.steps(64) and found.parameters > 1e5 and found.memory_bytes > 1e7
    step_s = 16 / found.images_per_s
    assert abs(found.hours - found.steps * step_s * (0.5 * 0.25 + 0.5) / 3600) < 1e-9
    assert f"{found.steps} steps" in found.told()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name == "dry-run") == []


def test_a_dry_run_foretells_a_step_that_would_not_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    gigabyte = 10**9
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=18 * gigabyte))
    of_32_images, of_64_images = 1 * gigabyte, 2 * gigabyte
    refuse_too_much(Recipe(batch=512, queue=512), of_32_images, of_64_images)  # 16 GB in all
    with pytest.raises(NotEnoughMemory, match=r"1024 images would hold about 32 GB .* 20 GB can be had.*accumulate 2$"):
        refuse_too_much(Recipe(batch=1024, queue=1024), of_32_images, of_64_images)
    refuse_too_much(Recipe(batch=1024, queue=1024, accumulate=2), of_32_images, of_64_images)


def copies(folder: Path) -> None:
    for i in range(80):
        shutil.copyfile(folder / "000.png", folder / f"copy{i}.png")
    for i in range(1, 64):
        (folder / f"{i:03d}.png").unlink()


def few(folder: Path) -> None:
    for path in sorted(folder.iterdir())[20:]:
        path.unlink()


def specks(folder: Path) -> None:
    for path in folder.iterdir():
        structured_image(0, size_px=6).save(path)


def damaged(folder: Path) -> None:
    for path in sorted(folder.iterdir())[10:]:
        path.write_bytes(path.read_bytes()[:100])


def gray(folder: Path) -> None:
    for path in folder.iterdir():
        Image.new("RGB", (40, 40), "gray").save(path)


def nothing(folder: Path) -> None: ...


@pytest.mark.parametrize(
    ("change", "options", "code", "complaint"),
    [
        (few, [], 1, "holds 20 usable images; needed are at least 64: add images"),
        (damaged, [], 1, "holds 10 usable images; needed are at least 64: add images or mend the 54 skipped"),
        (specks, [], 1, "6x6 px; the shorter side must be at least 8 px"),
        (copies, [], 1, "only 1 of 81 images are not copies, fewer than a batch of 64; add others, or lower the batch"),
        (gray, [], 1, "only 1 of 64 images are not copies"),
        (nothing, ["--batch", "128"], 1, "64 images are fewer than a batch of 128; add images, or lower the batch"),
        (nothing, ["--batch", "1"], 2, "Input should be greater than or equal to 2"),
        (nothing, ["--accumulate", "5"], 2, "batch is 64; 5 parts of 1 group(s) need a multiple of 5"),
        (
            nothing,
            ["--devices", "3"],
            2,
            "3 processes share the work, and batch is 64; 1 parts of 3 group(s) need a multiple of 3",
        ),
        (nothing, ["--devices", "2", "--norm-groups", "3", "--batch", "63"], 1, "norm_groups is 3, and whole groups"),
        (nothing, ["--from", "mobile-mocov2", "--net", "resnet"], 2, "mobile-mocov2 is of net mobile"),
        (nothing, ["--max-minutes", "0"], 2, "--max-minutes is 0; it must be a finite number above 0"),
    ],
)
def test_what_cannot_train_is_one_line_with_the_fix(
    home: Path, image_folder: Path, tmp_path: Path, change: object, options: list[str], code: int, complaint: str
) -> None:
    change(image_folder)  # type: ignore[operator]
    out = tmp_path / "out"
    result = run("pretrain", "--images", image_folder, "-o", out, "-q", *options)
    assert result.exit_code == code, result.stderr
    assert complaint in result.stderr and len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stdout == "" and not out.exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_run_that_fails_before_its_first_checkpoint_leaves_what_was_there_and_nothing_else(
    error: type[BaseException], trained: list[dict[str, object]], image_folder: Path, tmp_path: Path
) -> None:
    def stopped(recipe: Recipe, pixels: object, out: Path, **kwargs: object) -> None:
        (out / "checkpoints").mkdir(parents=True, exist_ok=True)
        raise error

    def unreadable(*args: object, **kwargs: object) -> None:
        raise error

    out = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["search.oneshot.pretrain"], "pretrain", stopped)
        with pytest.raises(error):
            train(Recipe(), image_folder, out, terms="mine")
        assert not out.exists()
        with pytest.raises(error):  # nothing was trained there: it is no run's folder
            train(Recipe(), image_folder, image_folder, terms="mine", resume=True)
        assert len(list(image_folder.glob("*.png"))) == 64
    train(Recipe(), image_folder, out, terms="mine")
    (out / "card.json").write_text("of the earlier run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zoo.make.pretrain.feed", unreadable)
        with pytest.raises(error):
            train(Recipe(), image_folder, out, terms="mine", overwrite=True)
    assert (out / "card.json").exists()
