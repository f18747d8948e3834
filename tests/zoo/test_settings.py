from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from search.recipes import Recipe
from zoo.errors import BadRecipe
from zoo.make.pretrain import recipe_of
from zoo.make.settings import read_settings, with_settings

DEFAULTS: dict[str, Any] = dict.fromkeys(("net", "objective", "epochs", "batch", "resolution_px")) | {"seed": 0}


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
    large, small = (recipe_of(**{**DEFAULTS, "batch": batch}) for batch in (1024, 16))
    assert (large.queue, round(large.lr, 3)) == (4096, 0.24)
    assert (small.queue, small.lr) == (256, Recipe().lr)
