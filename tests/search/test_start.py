"""Training that starts from another supernet's weights; some start where nothing can be learned any more."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from search.errors import TrainingError
from search.objectives import OBJECTIVES
from search.oneshot.pretrain import METRICS, check_start
from search.recipes import Recipe
from search.supernet import Supernet, load_supernet
from tests.conftest import refused
from tests.search.small_runs import checkpoint, equal, tiny, train
from tests.search.small_supernets import TINY, random_supernet, stripes


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return stripes(64, 20)


@pytest.fixture(scope="module")
def start() -> Supernet:
    return random_supernet("tiny", 16)


@pytest.mark.parametrize("objective", ["mocov2", "densecl"])
def test_training_goes_on_from_another_supernet_s_weights(
    pixels: Tensor, start: Supernet, tmp_path: Path, objective: str
) -> None:
    recipe = tiny(objective=objective, lr=1e-9, epochs=0.5, weight_decay=0)
    made = train(recipe, pixels, tmp_path, start=start, running={"checkpoint_steps": 1})
    assert all(torch.allclose(made.weights[name], tensor, atol=1e-5) for name, tensor in start.weights.items())
    own = made.card.training["steps"] * recipe.batch
    assert made.card.training["from"] == "untrained" and made.card.images_seen == own
    assert train(recipe, pixels, tmp_path / "more", start=made).card.images_seen == 2 * own
    teacher = "training_module.objective.teacher."
    state = checkpoint(tmp_path)["state_dict"]
    assert all(torch.allclose(state[teacher + name], tensor, atol=1e-5) for name, tensor in start.weights.items())
    again = train(recipe, pixels, tmp_path, start=start, resume=True)
    assert equal(dict(again.weights), dict(made.weights))
    with pytest.raises(TrainingError, match="of one that started from untrained, not of one that started from nothing"):
        train(recipe, pixels, tmp_path, resume=True)


def test_a_supernet_of_other_networks_or_another_projector_is_no_start(
    pixels: Tensor, start: Supernet, tmp_path: Path
) -> None:
    for change, message in (
        ({"net": "resnet"}, "the net of untrained is tiny, not resnet"),
        ({"hidden_dim": 32}, r"the projector of untrained is \(16, 8, True\), not \(32, 8, True\)"),
        ({"architecture": TINY.smallest(16).choices}, "the architecture of untrained is None, not"),
    ):
        with pytest.raises(TrainingError, match=message):
            train(tiny(**change), pixels, tmp_path / "out", start=start)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_embeddings_that_are_all_the_same_stop_training_and_name_the_step(
    pixels: Tensor, start: Supernet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objective: str
) -> None:
    flat = dict(start.weights) | {
        "projector.3.weight": torch.zeros_like(start.weights["projector.3.weight"]),
        "projector.3.bias": torch.ones_like(start.weights["projector.3.bias"]),
    }
    monkeypatch.setattr("search.oneshot.step.CHECK_STEPS", 2)
    recipe = tiny(objective=objective, lr=1e-9)
    with refused(TrainingError, match=r"have collapsed at step 1: spread .* \(limit 0.05\), rank") as caught:
        train(recipe, pixels, tmp_path, start=replace(start, weights=flat))
    assert "lower learning rate than 1e-09" in str(caught.value)
    sound = train(replace(recipe, epochs=0.5), pixels, tmp_path / "sound", start=start)
    spread, rank = (tmp_path / "sound" / METRICS).read_text().splitlines()[2].split(",")[-2:]
    assert 0.05 < float(spread) < 1 and 2 < float(rank) < 8 and sound.card.training["steps"] == 2


def test_a_projector_without_normalization_is_trained_and_gone_on_from(pixels: Tensor, tmp_path: Path) -> None:
    first = train(tiny(projector_norm=False, epochs=0.5), pixels, tmp_path / "first")
    assert {name for name in first.weights if name.startswith("projector")} == {
        f"projector.{i}.{kind}" for i in (0, 2) for kind in ("weight", "bias")
    }
    loaded = load_supernet(tmp_path / "first")
    assert not loaded.card.projector_norm and len(loaded.projector(8)) == 3
    again = train(tiny(projector_norm=False, epochs=0.5), pixels, tmp_path / "second", start=loaded)
    assert again.weights.keys() == first.weights.keys()
    with pytest.raises(TrainingError, match=r"the projector of tiny is \(16, 8, False\), not \(16, 8, True\)"):
        train(tiny(epochs=0.5), pixels, tmp_path / "third", start=loaded)


def test_a_net_with_the_same_weights_is_a_start() -> None:
    about = {"name": "x", "architecture": None, "projection": (512, 128), "projector_norm": True}
    pair = [SimpleNamespace(card=SimpleNamespace(net=net, **about)) for net in ("mobile", "resnet")]
    recipe = Recipe(net="mobile-photo")
    check_start(recipe, pair[0])  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="the net of x is resnet, not mobile"):
        check_start(recipe, pair[1])  # type: ignore[arg-type]
