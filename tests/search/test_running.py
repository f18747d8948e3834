"""How a training runs - logged, compiled, judged, with less memory - changes nothing of what it gives."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import search.oneshot  # noqa: F401 - first
from search.nets.cell import CELL
from search.oneshot.ssl import SSL, family, projected, recompute_blocks
from search.oneshot.validate import VALIDATION
from search.recipes import Stage
from search.running import Running, estimate
from search.supernet import WEIGHTS
from tests.search.small_runs import tiny, train
from tests.search.small_supernets import stripes


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plain")
    train(tiny(), stripes(64, 20), out)
    return out


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def labelled(folder: Path) -> Path:
    for k, color in enumerate(("red", "blue")):
        (folder / color).mkdir(parents=True)
        for i in range(12):
            Image.new("RGB", (16, 16), color).save(folder / color / f"{i}.png")
            Image.effect_noise((16, 16), 10 + k).convert("RGB").save(folder / color / f"n{i}.png")
    return folder


def test_neighbors_are_asked_and_told_and_change_nothing(plain: Path, tmp_path: Path) -> None:
    said: list[str] = []
    options = {"validate": labelled(tmp_path / "labelled"), "validate_steps": 4}
    made = train(tiny(), stripes(64, 20), tmp_path / "out", running=options, say=said.append)
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == (plain / WEIGHTS).read_bytes()
    rows = read(tmp_path / "out" / VALIDATION)
    assert [int(row["step"]) for row in rows] == [3, 5]  # every fourth, and the last
    assert [int(row["images"]) for row in rows] == [4 * tiny().batch, 6 * tiny().batch]
    names = [name for name in rows[0] if name not in ("step", "images")]
    assert names == ["knn_largest", "linear_largest", "knn_smallest", "linear_smallest"]
    assert all(0.5 <= float(row[name]) <= 1 for row in rows for name in names)
    kept = made.card.training["validation"]
    assert [dict(zip(kept["columns"], row, strict=True)) for row in kept["rows"]] == [
        {name: float(value) for name, value in row.items()} for row in rows
    ]
    assert len([line for line in said if "k-NN" in line and "of 24 labelled images" in line]) == 2
    more = train(tiny(), stripes(64, 20), tmp_path / "more", start=made, running=options)
    looks = more.card.training["validation"]["rows"]
    assert looks[:2] == kept["rows"], "a training that goes on from another goes on with its curve"
    assert [row[1] for row in looks] == [count * tiny().batch for count in (4, 6, 10, 12)]


def test_tensorboard_gets_the_numbers_of_every_step(plain: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "out"
    train(tiny(), stripes(64, 20), out, running={"logger": "tensorboard"})
    assert (out / WEIGHTS).read_bytes() == (plain / WEIGHTS).read_bytes()
    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    rows = read(out / "metrics.csv")
    found = [(event.step, round(event.value, 5)) for event in events.Scalars("loss_largest")]
    assert found == [(int(row["step"]), round(float(row["loss_largest"]), 5)) for row in rows]


def test_a_logger_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.oneshot.engine.trainer.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError) as caught:
        train(tiny(), stripes(64, 20), tmp_path, running={"logger": "wandb"})
    assert caught.value.name == "wandb"


@pytest.mark.parametrize("objective", ["mocov2", "densecl"])
def test_activations_that_are_computed_again_give_the_same_weights(objective: str, tmp_path: Path) -> None:
    files = []
    for again in (False, True):
        out = tmp_path / str(again)
        train(tiny(objective=objective), stripes(64, 20), out, running={"checkpoint_activations": again})
        files.append((out / WEIGHTS).read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize("net", ["mobile", "resnet", CELL.name])
def test_activations_that_are_computed_again_take_less_memory(net: str) -> None:
    choices = None if net != CELL.name else CELL.smallest(16).choices
    recipe = tiny(net=net, architecture=choices, stages=(Stage(until=1.0, crop_px=16),))
    network = projected(recipe, family(recipe))
    x_BCHW = torch.rand(4, 3, 16, 16)  # noqa: N806
    network.train()
    kept, grads = [], []
    for again in (False, True):
        if again:
            recompute_blocks(network)
        network.zero_grad()
        tensors: dict[int, int] = {}

        def pack(tensor: Tensor, tensors: dict[int, int] = tensors) -> Tensor:
            tensors[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = network(x_BCHW).square().sum()
        kept.append(sum(tensors.values()))
        loss.backward()
        grads.append([parameter.grad.clone() for parameter in network.parameters()])
    assert kept[1] < 0.5 * kept[0], kept
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


@pytest.mark.slow
def test_a_compiled_training_is_the_plain_one_but_for_rounding(tmp_path: Path) -> None:
    weights = [
        train(tiny(), stripes(64, 20), tmp_path / str(on), running={"compiled": on}).weights for on in (False, True)
    ]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=0, atol=1e-4, msg=name)


def test_only_networks_that_every_step_shares_are_compiled() -> None:
    def compiled(recipe: Any) -> set[str]:
        from search.oneshot.space import SupernetSpace
        from search.oneshot.strategy import Sandwich, SandwichModule, SingleModule

        ssl = SSL(recipe, stripes(64, 20), running=Running(compiled=True))
        if recipe.architecture is None:
            space = SupernetSpace(ssl.net, hidden_dim=recipe.hidden_dim, projection_dim=recipe.projection_dim)
            ssl.set_model(Sandwich().mutate_model(space))
            module: Any = SandwichModule(ssl)
        else:
            module = SingleModule(ssl)
        return {name for name, part in module.named_modules() if part._compiled_call_impl is not None}

    assert {name.rpartition("objective.")[2] for name in compiled(tiny())} == {"teacher"}
    single = compiled(tiny(net=CELL.name, architecture=CELL.smallest(16).choices))
    assert any(name.endswith("teacher") for name in single) and any(name.endswith("model") for name in single)


def test_the_estimate_counts_each_stage_by_its_pixels_and_every_device() -> None:
    recipe = tiny(batch=10, queue=20, stages=(Stage(until=0.5, crop_px=8), Stage(until=1.0, crop_px=16)))
    found = estimate(recipe, steps=3600, step_s=1.0, crop_px=16, parameters=5, memory_bytes=7, devices=4)
    assert found.hours == 0.5 * 0.25 + 0.5 and found.images_per_s == 10
    assert "2.5 device-hours" in found.told()
    small = estimate(recipe, steps=3600, step_s=0.25, crop_px=8, parameters=5, memory_bytes=7)
    assert (small.hours, small.images_per_s) == (found.hours, 10)


def test_what_cannot_run_is_refused() -> None:
    for wrong in ({"devices": 0}, {"workers": -1}, {"checkpoint_steps": 0}, {"logger": "paper"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Running(**wrong)  # type: ignore[arg-type]
