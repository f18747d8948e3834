from dataclasses import replace
from pathlib import Path

from search.recipes import Recipe, Stage
from zoo.make.dry_run import dry_run


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
