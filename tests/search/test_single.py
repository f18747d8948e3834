import copy
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search.cells.recipe import single
from search.errors import BadSupernet, TrainingError
from search.nets.cell import CELL
from search.nets.genotype import random_genotype
from search.objectives import OBJECTIVES, nt_xent
from search.oneshot.darts.loss import held_out_loss
from search.oneshot.pretrain import pretrain
from search.oneshot.ssl import SSL
from search.oneshot.step import CLIP, take_step
from search.oneshot.strategy import SingleModule
from search.recipes import Recipe
from search.running import Running
from search.subnets.evolution import find
from search.supernet import CARD, WEIGHTS, load_supernet
from search.types import Budget
from tests.search.small_cells import DARTS_V2
from tests.search.small_runs import Stepping, ctrl_c, interrupt_at
from tests.search.small_supernets import TINY, made_up_table, stripes

PX = 8
GENOTYPE = random_genotype(np.random.default_rng(0))
RECIPE = replace(
    single(GENOTYPE, cells=5, channels=8, resolution_px=PX, epochs=1.5), batch=4, projection_dim=8, precision="fp32"
)


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return stripes(16, 10)


@pytest.fixture(scope="module")
def finished(pixels: Tensor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "finished"
    pretrain(RECIPE, pixels, out, name="one", data={"terms": "none"})
    return out


def test_one_network_is_written_as_a_supernet_that_holds_nothing_else(finished: Path) -> None:
    supernet = load_supernet(finished)
    architecture = CELL.architecture(GENOTYPE, cells=5, channels=8, resolution_px=PX)
    assert supernet.card.architecture == architecture.choices and supernet.card.objective == "simclr"
    assert supernet.net.size == 1 and supernet.net.largest(PX) == architecture
    assert supernet.card.training["steps"] == 6 and supernet.card.data["images"] == 16
    assert supernet.subnet(architecture)(torch.randn(2, 3, PX, PX)).shape == (2, 128)


def test_a_search_of_it_finds_it_and_tells_what_the_table_says(finished: Path, pixels: Tensor) -> None:
    supernet, table = load_supernet(finished), made_up_table("cell", PX)
    result = find(supernet, table, pixels, Budget(latency_ms=10_000.0))
    assert result.best.architecture == supernet.net.largest(PX) and len(result.evaluated) == 1
    assert result.best.score == pytest.approx(1)


def test_the_same_seed_gives_the_same_weights_and_an_interruption_changes_nothing(
    pixels: Tensor, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_at(3, patch, ctrl_c)
        pretrain(RECIPE, pixels, tmp_path, name="one", data={"terms": "none"}, running=Running(checkpoint_steps=2))
    assert not (tmp_path / CARD).exists()
    torch.manual_seed(7)
    pretrain(RECIPE, pixels, tmp_path, name="one", data={"terms": "none"}, resume=True)
    assert (tmp_path / WEIGHTS).read_bytes() == (finished / WEIGHTS).read_bytes()
    assert (tmp_path / "metrics.csv").read_text() == (finished / "metrics.csv").read_text()


def test_training_lowers_the_loss_on_images_it_has_not_seen(tmp_path: Path) -> None:
    pixels = stripes(128, 10)
    recipe = replace(RECIPE, batch=32, queue=32, epochs=6.0, lr=0.03)

    def judged(network: nn.Module) -> float:
        return held_out_loss(network, pixels[96:], recipe.views, batch=32, temperature=0.5)

    supernet = pretrain(recipe, pixels[:96], tmp_path, name="one", data={})
    backbone = supernet.subnet(supernet.net.largest(PX))
    trained = nn.Sequential(backbone, supernet.projector(int(backbone.embedding_dim)))
    untrained = SingleModule(SSL(recipe, pixels[:96])).training_module.model
    assert judged(trained) < judged(untrained) - 0.1


def test_a_step_is_simclr_s_with_the_gradient_of_darts(pixels: Tensor) -> None:
    """Against plain torch: both views pass together, the gradient's norm is at most 5, SGD."""
    ssl = SSL(replace(RECIPE, lr=2.0), pixels)
    module = SingleModule(ssl)
    plain = copy.deepcopy(ssl.model)
    x1, x2 = ssl.two_views(0)
    (1000 * nt_xent(plain(torch.cat([x1, x2])), 0.5)).backward()
    nn.utils.clip_grad_norm_(plain.parameters(), CLIP)
    with torch.no_grad():
        for parameter in plain.parameters():
            assert parameter.grad is not None
            parameter -= 2.0 * (parameter.grad + 3e-4 * parameter)
    loss, optimizer = ssl.objective.loss, ssl.configure_optimizers()
    ssl.objective.loss = lambda encoded, targets: 1000 * loss(encoded, targets)  # type: ignore[method-assign]
    take_step(Stepping(optimizer), ssl, module.choose)  # type: ignore[arg-type]
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(ssl.student[name], parameter, msg=name)


@pytest.mark.parametrize("objective", [name for name in OBJECTIVES if name != "simclr"])
def test_one_network_learns_by_every_objective_and_is_resumed_exactly(
    pixels: Tensor, tmp_path: Path, objective: str
) -> None:
    architecture = TINY.largest(PX).choices
    recipe = replace(RECIPE, net="tiny", architecture=architecture, objective=objective, queue=8, epochs=0.5)
    whole = pretrain(recipe, pixels, tmp_path / "whole", name="one", data={}, running=Running(checkpoint_steps=1))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_at(1, patch, ctrl_c)
        pretrain(recipe, pixels, tmp_path / "out", name="one", data={}, running=Running(checkpoint_steps=1))
    resumed = pretrain(recipe, pixels, tmp_path / "out", name="one", data={}, resume=True)
    assert resumed.card.objective == objective and resumed.weights.keys() == whole.weights.keys()
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()


def test_a_loss_that_is_not_finite_is_one_line(pixels: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.objectives.simclr.nt_xent", lambda z, t: z.sum() * math.nan)
    with pytest.raises(TrainingError, match=r"the loss is nan \(largest\) at step 0; train anew with a lower"):
        pretrain(RECIPE, pixels, tmp_path, name="one", data={})
    with pytest.raises(TrainingError, match="16 images are fewer than a batch of 64"):
        pretrain(replace(RECIPE, batch=64, queue=64), pixels, tmp_path, name="one", data={})


def test_a_supernet_s_card_with_another_network_s_choices_does_not_fit_its_weights(
    finished: Path, tmp_path: Path
) -> None:
    for name in (CARD, WEIGHTS):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    other = CELL.architecture(DARTS_V2, cells=5, channels=8, resolution_px=PX)
    fields = json.loads((tmp_path / CARD).read_text()) | {"architecture": list(other.choices)}
    (tmp_path / CARD).write_text(json.dumps(fields))
    with pytest.raises(BadSupernet, match="is no supernet of cell"):
        load_supernet(tmp_path)
    (tmp_path / CARD).write_text(json.dumps(fields | {"architecture": ["x"]}))
    with pytest.raises(BadSupernet, match="cell needs 24 choices, got 1"):
        load_supernet(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"net": "cell"}, "the networks of cell share no weights; name the one to train with --architecture"),
        ({"net": "cell", "objective": "simclr", "architecture": (5, 8)}, "cell needs 24 choices, got 2"),
    ],
)
def test_cells_without_an_architecture_and_damaged_architectures_are_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**changes)  # type: ignore[arg-type]
