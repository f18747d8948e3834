import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from search.objectives import OBJECTIVES
from search.recipes import Recipe, Stage, quick, read_recipe, recipe_for


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"net": "vit"}, "net is 'vit'; this version trains mobile, mobile-photo, resnet"),
        ({"objective": "dino"}, "objective is 'dino'; this version trains mocov2, densecl, ressl, byol, simclr"),
        ({"batch": 1}, "batch is 1; batch normalization needs at least 2"),
        ({"queue": 100}, "queue is 100, no multiple of batch 64"),
        ({"queue": 0}, "queue is 0, no multiple of batch 64"),
        ({"temperature": 0.0}, "temperature is 0.0; it must be a finite number above 0"),
        ({"teacher_temperature": -1.0}, "teacher_temperature is -1.0; it must be a finite number above 0"),
        ({"dense_weight": 1.5}, "dense_weight is 1.5; it must be 0..1"),
        ({"epochs": 0}, "epochs is 0; it must be a finite number above 0"),
        ({"epochs": float("inf")}, "epochs is inf"),
        ({"epochs": 1e300}, r"epochs is 1e\+300; more than 1,000,000 never end"),
        ({"stages": ()}, "the stages end at"),
        ({"stages": (Stage(until=0.5, crop_px=16),)}, r"the stages end at \[0.5\]; they must rise from above 0 to 1"),
        ({"stages": (Stage(until=1.0, crop_px=16), Stage(until=1.0, crop_px=32))}, "the stages end at"),
        ({"warmup": 1.0}, "warmup is 1.0"),
        ({"ema": (0.9, 1.0)}, r"ema is \(0.9, 1.0\)"),
        ({"random_subnets": -1}, "random_subnets is -1"),
        ({"accumulate": 0}, "accumulate is 0; it must be at least 1"),
        ({"norm_groups": -2}, "norm_groups is -2; it must be at least 1"),
        ({"accumulate": 3}, r"batch is 64; 3 parts of 1 group\(s\) need a multiple of 3, of at least 6"),
        ({"accumulate": 8, "norm_groups": 8}, r"batch is 64; 8 parts of 8 group\(s\) need .* at least 128"),
        ({"loss_weights": (1.0, 1.0)}, r"loss_weights is \(1.0, 1.0\); it must be 3 finite numbers"),
        ({"loss_weights": (0.0, 1.0, 1.0)}, "loss_weights is .* the first one above 0"),
        ({"slow_start": 1.0}, "slow_start is 1.0"),
        ({"distill": -0.5}, "distill is -0.5"),
        ({"elastic": ()}, r"elastic is \(\)"),
        ({"elastic": (0.25,)}, r"elastic is \(0.25,\); it must be factors of 0.5..1"),
        ({"elastic": (0.5, 1.0), "objective": "densecl"}, "elastic does not go with densecl"),
    ],
)
def test_what_cannot_train_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(Recipe(), **change)


def test_every_stage_has_its_crops_and_the_last_is_the_net_s() -> None:
    recipe = replace(Recipe(), stages=(Stage(until=0.5, crop_px=16), Stage(until=1.0, crop_px=32)))
    assert [recipe.crop_px(progress) for progress in (0, 0.49, 0.5, 0.99, 1.0)] == [16, 16, 32, 32, 32]
    assert recipe.resolution_px == 32


def test_the_learning_rate_rises_to_its_peak_and_falls_to_zero() -> None:
    recipe = replace(Recipe(), lr=0.2, warmup=0.1)
    rates = [recipe.lr_at(i / 100) for i in range(101)]
    assert rates[0] == 0 and max(rates) == rates[10] == pytest.approx(0.2) and rates[100] == pytest.approx(0)
    assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert replace(recipe, warmup=0).lr_at(0) == 0.2


def test_the_teacher_slows_down_from_the_first_momentum_to_the_last() -> None:
    recipe = replace(Recipe(), ema=(0.5, 0.9))
    momenta = [recipe.ema_at(i / 10) for i in range(11)]
    assert momenta[0] == pytest.approx(0.5) and momenta[10] == pytest.approx(0.9) and momenta == sorted(momenta)


def test_steps_drop_the_incomplete_batch_and_are_at_least_one() -> None:
    recipe = replace(Recipe(), batch=16, queue=64, epochs=2.5)
    assert [recipe.steps(images) for images in (16, 31, 32, 64)] == [2, 2, 5, 10]
    assert replace(recipe, epochs=0.01).steps(64) == 1


def test_any_recipe_can_be_made_quick() -> None:
    recipe = quick(Recipe())
    assert recipe.net == "mobile" and recipe.steps(64) == 4 and recipe.resolution_px == 16


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("net", ["mobile", "mobile-photo", "resnet", "resnet-photo"])
def test_every_objective_has_a_recipe_for_every_net(net: str, objective: str) -> None:
    recipe = recipe_for(net, objective)
    assert (recipe.net, recipe.objective) == (net, objective)


def test_a_recipe_has_what_its_objective_needs_and_nothing_that_it_has_not() -> None:
    assert recipe_for("mobile", "mocov2") == Recipe()
    assert {name for name in OBJECTIVES if recipe_for("mobile", name).queue} == {"mocov2", "densecl", "ressl"}
    weak = recipe_for("resnet", "ressl").teacher_views
    assert weak is not None and weak.jitter_p == weak.gray_p == 0 < weak.flip_p and weak.min_scale < 1
    assert recipe_for("resnet", "ressl").teacher_temperature < recipe_for("resnet", "ressl").temperature


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("net", ["mobile-photo", "resnet-photo"])
def test_photos_are_seen_by_crops_that_leave_the_last_map_more_than_one_position(net: str, objective: str) -> None:
    recipe = recipe_for(net, objective)
    assert {-(-stage.crop_px // 32) for stage in recipe.stages} == {2} and recipe.resolution_px == 64
    assert recipe.slow_start > 0 and recipe.distill > 0 and recipe.loss_weights[0] > recipe.loss_weights[1]


@pytest.mark.parametrize("recipe", [Recipe(), recipe_for("resnet", "ressl"), Recipe(elastic=(0.75, 1.0), distill=0.5)])
def test_a_recipe_survives_a_file(recipe: Recipe) -> None:
    assert read_recipe(json.loads(json.dumps(asdict(recipe)))) == recipe
    with pytest.raises(TypeError, match="colour"):
        read_recipe({**asdict(recipe), "colour": 1})
