import csv
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search.cells.derive import cell_costs
from search.cells.log import Epoch, Verdict
from search.cells.recipe import DartsRecipe
from search.errors import InfeasibleBudget, TrainingError
from search.nets.cell_body import Cell
from search.nets.genotype import PRIMITIVES
from search.objectives import nt_xent
from search.oneshot.darts.loss import Contrast, held_out_loss
from search.oneshot.darts.search import CHECKPOINT, Found, search_cells
from search.oneshot.darts.space import ALPHAS, LABELS, WEIGHTS, DartsSpace, halves
from search.oneshot.darts.strategy import STRATEGIES, DartsModule
from tests.conftest import refused
from tests.search.small_cells import tiny
from tests.search.small_supernets import made_up_table, stripes

FILES = ("search.csv", "alphas.csv")


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return stripes(10, 10)


@pytest.fixture(scope="module")
def finished(pixels: Tensor, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Found]:
    out = tmp_path_factory.mktemp("searches") / "finished"
    return out, search_cells(tiny(), pixels, out)


def module_of(recipe: DartsRecipe, pixels: Tensor, **how: Any) -> DartsModule:
    """NNI's module on the mixed network, without a trainer."""
    strategy = STRATEGIES[recipe.strategy](recipe, **how)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        space = DartsSpace(recipe)
    ssl = Contrast(recipe, pixels)
    module = strategy.configure_oneshot_module(ssl)
    module.set_model(strategy.mutate_model(space))
    return module


def test_an_edge_computes_the_softmax_weighted_sum_of_its_operations(pixels: Tensor) -> None:
    module = module_of(tiny(), pixels)
    cell = module.model.backbone.cells[1]
    assert isinstance(cell, Cell)
    torch.manual_seed(0)
    for alpha in module.arch_parameters():
        nn.init.normal_(alpha)
    edge, x = cell.nodes[1][0], torch.randn(2, 4, 8, 8)
    assert [name for name, _ in edge.named_children() if name in PRIMITIVES] == list(PRIMITIVES)
    weights = module.parameters_by_label["reduce.node1.from0"].softmax(0)
    expected = sum(w * edge[op](x) for w, op in zip(weights, PRIMITIVES, strict=True))
    torch.testing.assert_close(edge(x), expected)


def test_all_cells_of_a_role_share_their_parameters_which_start_near_zero(pixels: Tensor) -> None:
    module = module_of(tiny(cells=5), pixels)
    assert len(module.arch_parameters()) == 28 and len({id(p) for p in module.arch_parameters()}) == 28
    assert max(float(p.detach().abs().max()) for p in module.arch_parameters()) < 0.01
    edges = [cell.nodes[0][0] for cell in module.model.backbone.cells]
    by_role = {edge.label: edge._arch_alpha for edge in edges}
    assert set(by_role) == {"normal.node0.from0", "reduce.node0.from0"}
    assert all(edge._arch_alpha is by_role[edge.label] for edge in edges)


def test_the_order_of_the_parameters_is_the_labels_and_not_their_address(pixels: Tensor) -> None:
    # NNI's own order is that of a set; a resumed Adam would give edges each other's moments.
    module = module_of(tiny(), pixels)
    expected = [module.parameters_by_label[label] for role in LABELS for label in LABELS[role]]
    assert [id(p) for p in module.arch_parameters()] == [id(p) for p in expected]
    adam = module.configure_architecture_optimizers()
    assert [id(p) for p in adam.param_groups[0]["params"]] == [id(p) for p in expected]
    assert (adam.defaults["betas"], adam.defaults["weight_decay"]) == ((0.5, 0.999), 1e-3)


def test_weights_and_architecture_have_optimizers_of_their_own(pixels: Tensor) -> None:
    module = module_of(tiny(), pixels)
    sgd, adam = module.configure_optimizers()
    ours = {id(p) for p in sgd.param_groups[0]["params"]}
    theirs = {id(p) for p in adam.param_groups[0]["params"]}
    assert not ours & theirs and ours | theirs == {id(p) for p in module.parameters()}
    assert ours == {id(p) for p in module.weights}


def test_while_cells_are_searched_their_normalizations_have_no_scale(pixels: Tensor) -> None:
    backbone = DartsSpace(tiny()).backbone
    norms = {name: part for name, part in backbone.named_modules() if isinstance(part, nn.BatchNorm2d)}
    assert all(norm.affine == name.startswith("stem") for name, norm in norms.items())
    pools = [part for part in backbone.modules() if isinstance(part, (nn.MaxPool2d, nn.AvgPool2d))]
    assert len(pools) == 3 * 14 * 2 and len(norms) > 3 * 14 * 6


def test_nni_s_probabilities_have_no_gradient_and_ours_do(pixels: Tensor) -> None:
    module = module_of(tiny(), pixels)
    label = LABELS["normal"][0]
    theirs = super(DartsModule, module).export_probs()[label]
    assert all(type(p) is float for p in theirs.values())  # when this fails, export_probs may go
    assert all(p.requires_grad for p in module.export_probs()[label].values())


def test_the_halves_share_no_image_and_the_judges_are_the_same_for_every_seed() -> None:
    numbered = torch.arange(50, dtype=torch.uint8)[:, None, None, None].expand(50, 3, 8, 8)
    splits = [halves(numbered, tiny(seed=seed)) for seed in (0, 0, 1)]
    sets = [[set(part[:, 0, 0, 0].tolist()) for part in (s.weights, s.alphas, s.held_out)] for s in splits]
    for weights, alphas, held_out in sets:
        assert not weights & alphas and not (weights | alphas) & held_out
        assert len(weights) == len(alphas) == 20 and len(held_out) == 10
    assert sets[0] == sets[1] and sets[0][:2] != sets[2][:2] and sets[0][2] == sets[2][2]


@pytest.mark.parametrize(("count", "px", "message"), [(5, 8, "5 images leave 1 for"), (50, 7, "7 px and the crops 8")])
def test_too_few_or_too_small_images_are_refused(count: int, px: int, message: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=message):
        search_cells(tiny(), stripes(count, px), tmp_path)


def test_an_epoch_sees_every_image_of_each_half_once_and_each_twice(pixels: Tensor) -> None:
    numbered = torch.arange(10, dtype=torch.uint8)[:, None, None, None].expand(10, 3, 10, 10)
    ssl = Contrast(tiny(), numbered)
    seen: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        keep: Callable[..., Tensor] = lambda batch, *_, **__: (seen.extend(batch[:, 0, 0, 0].tolist()), batch)[1]  # noqa: E731
        patch.setattr("search.oneshot.darts.loss.views", keep)
        for step in range(ssl.steps_per_epoch):
            assert len(ssl.batch(WEIGHTS, step)) == 4
    assert sorted(seen) == sorted(2 * ssl.halves.weights[:, 0, 0, 0].tolist())
    assert not torch.equal(ssl.batch(WEIGHTS, 0), ssl.batch(ALPHAS, 0))


def test_the_same_seed_gives_the_same_cells_whatever_else_draws_random_numbers(
    pixels: Tensor, finished: tuple[Path, Found], tmp_path: Path
) -> None:
    torch.manual_seed(123)
    np.random.seed(123)
    again = search_cells(tiny(), pixels, tmp_path / "again")
    out, found = finished
    assert (again.genotype, again.log) == (found.genotype, found.log)
    assert all((tmp_path / "again" / name).read_bytes() == (out / name).read_bytes() for name in FILES)
    other = search_cells(tiny(seed=1, epochs=1), pixels, tmp_path / "other")
    assert other.log[0].alphas != found.log[0].alphas


@pytest.mark.parametrize("strategy", ["darts", "gumbel"])
def test_an_interrupted_and_resumed_search_equals_the_uninterrupted_one(
    pixels: Tensor, finished: tuple[Path, Found], tmp_path: Path, strategy: Any
) -> None:
    recipe, (whole, found) = tiny(strategy=strategy), finished
    if strategy == "gumbel":
        whole = tmp_path / "whole"
        found = search_cells(recipe, pixels, whole)
    training_step = Contrast.training_step

    def interrupted(self: Contrast, half: str, batch_idx: int) -> Tensor:
        if int(self.step) == 3 and half == WEIGHTS:  # in the middle of the second epoch
            raise KeyboardInterrupt
        return training_step(self, half, batch_idx)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Contrast, "training_step", interrupted)
        search_cells(recipe, pixels, tmp_path / "out", checkpoint_steps=1)
    assert len((tmp_path / "out" / "search.csv").read_text().splitlines()) == 2
    resumed = search_cells(recipe, pixels, tmp_path / "out", resume=True)
    assert (resumed.genotype, resumed.log) == (found.genotype, found.log)
    assert all((tmp_path / "out" / name).read_bytes() == (whole / name).read_bytes() for name in FILES)


def test_resuming_a_finished_search_gives_it_again(pixels: Tensor, finished: tuple[Path, Found]) -> None:
    out, found = finished
    before = [(out / name).read_bytes() for name in FILES]
    again = search_cells(tiny(), pixels, out, resume=True)
    assert (again.genotype, again.log) == (found.genotype, found.log)
    assert [(out / name).read_bytes() for name in FILES] == before


def test_an_earlier_or_another_search_s_folder_is_refused(pixels: Tensor, finished: tuple[Path, Found]) -> None:
    out, _ = finished
    with pytest.raises(TrainingError, match="is of an earlier search; resume that"):
        search_cells(tiny(), pixels, out)
    with pytest.raises(TrainingError, match=r"recipe with alpha_lr 0\.1, not 0\.2"):
        search_cells(tiny(alpha_lr=0.2), pixels, out, resume=True)
    with pytest.raises(TrainingError, match="other images"):
        search_cells(tiny(), pixels.flip(0), out, resume=True)


def test_the_log_tells_both_losses_and_the_architecture_moves(finished: tuple[Path, Found]) -> None:
    out, found = finished
    rows = list(csv.DictReader((out / "search.csv").read_text().splitlines()))
    assert len(rows) == 2 and all(0 < float(row[f"loss_{part}"]) < 5 for row in rows for part in ("weights", "alphas"))
    moved = np.abs(found.log[1].by_role["normal"] - found.log[0].by_role["normal"])
    assert moved.max() > 0.05 and found.epoch in (0, 1) and found.price == 0


def test_a_step_moves_the_architecture_by_its_half_and_the_weights_by_the_other(pixels: Tensor) -> None:
    module = module_of(tiny(), pixels)
    ssl, space = module.training_module, module.model
    nt_xent(space(ssl.batch(ALPHAS, 0)), 0.5).backward(inputs=module.arch_parameters())
    assert all(p.grad is not None and p.grad.any() for p in module.arch_parameters() if p.grad is not None)
    assert all(p.grad is None for p in module.weights)
    before = [p.grad.clone() for p in module.arch_parameters() if p.grad is not None]
    module.zero_grad()
    nt_xent(space(ssl.batch(ALPHAS, 0)), 0.5).backward()
    after = [p.grad for p in module.arch_parameters() if p.grad is not None]
    assert len(before) == len(after) == 28
    for one, whole in zip(before, after, strict=True):
        torch.testing.assert_close(one, whole)


def test_warm_up_trains_weights_alone(pixels: Tensor, tmp_path: Path) -> None:
    found = search_cells(tiny(warmup_epochs=1), pixels, tmp_path)
    start = module_of(tiny(warmup_epochs=1), pixels).alphas()
    np.testing.assert_array_equal(found.log[0].by_role["normal"], start["normal"])
    assert found.log[0].loss_alphas is None and found.log[1].loss_alphas is not None


def test_a_collapse_stops_the_search_and_goes_back(
    pixels: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "back to epoch 0: identities"

    def judge(log: Sequence[Epoch], recipe: DartsRecipe) -> Verdict:
        collapsed = len(log) > 1
        return Verdict(epoch=0, stop=collapsed, reason=reason if collapsed else None)

    monkeypatch.setattr("search.oneshot.darts.search.judge", judge)
    lines: list[str] = []
    found = search_cells(tiny(epochs=4), pixels, tmp_path, say=lines.append)
    assert len(found.log) == 2 and found.epoch == 0 and found.genotype == found.log[0].genotype
    assert found.reason == reason and lines[-1] == f"stopped: {reason}"
    again = search_cells(tiny(epochs=4), pixels, tmp_path, resume=True)
    assert again.log == found.log  # it does not go on


def test_a_loss_that_is_not_finite_ends_the_search_with_one_line(
    pixels: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.oneshot.darts.loss.nt_xent", lambda z, t: z.sum() * math.nan)
    with refused(TrainingError, match="the loss is nan at step 0, on the half for the alphas; search anew"):
        search_cells(tiny(), pixels, tmp_path)


def test_a_budget_makes_the_cells_faster_and_is_kept(pixels: Tensor, tmp_path: Path) -> None:
    costs = cell_costs(made_up_table("cell", 16), cells=5, channels=8)
    fastest = costs.network_ms(costs.fastest)
    free = search_cells(tiny(), pixels, tmp_path / "free", costs=costs)
    assert free.log[0].derived_ms is not None and free.log[0].derived_ms > fastest
    tight = search_cells(tiny(penalty=50.0), pixels, tmp_path / "tight", costs=costs, budget_ms=1.02 * fastest)
    assert costs.network_ms(tight.genotype) <= 1.02 * fastest and tight.price > 0
    with pytest.raises(TrainingError, match=r"of a search with .* ms, not no budget; resume with that"):
        search_cells(tiny(penalty=50.0), pixels, tmp_path / "tight", resume=True)
    first, last = tight.log[0].expected_ms, tight.log[-1].expected_ms
    assert first is not None and last is not None and last < first
    with pytest.raises(InfeasibleBudget):
        search_cells(tiny(), pixels, tmp_path / "never", costs=costs, budget_ms=0.9 * fastest)
    assert not (tmp_path / "never").exists()


def test_the_held_out_loss_depends_on_the_network_alone(pixels: Tensor) -> None:
    network = module_of(tiny(), pixels).model
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def judged(batch: int = 4) -> float:
        return held_out_loss(network, pixels, tiny().views, batch=batch, temperature=0.5)

    torch.manual_seed(1)
    first = judged()
    torch.manual_seed(2)
    assert judged() == first and judged(6) != first
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert network.training and 0 < first < 3


def test_the_checkpoint_holds_no_code(finished: tuple[Path, Found]) -> None:
    assert torch.load(finished[0] / CHECKPOINT, weights_only=True)["state_dict"]


@pytest.mark.slow
def test_two_processes_search_as_one_does(tmp_path: Path) -> None:
    for devices in (1, 2):
        command = [sys.executable, "-W", "ignore", "-m", "tests.search.two_processes"]
        subprocess.run(
            [*command, str(tmp_path / str(devices)), str(devices)], cwd=Path(__file__).parents[2], check=True
        )
    logs = [np.genfromtxt(tmp_path / str(n) / FILES[0], delimiter=",", skip_header=1)[1:7] for n in (1, 2)]
    np.testing.assert_allclose(logs[1], logs[0], rtol=0, atol=1e-5)
    states = [torch.load(tmp_path / str(n) / CHECKPOINT, weights_only=True)["state_dict"] for n in (1, 2)]
    for name, tensor in states[0].items():
        if not name.rpartition(".")[2].startswith(
            ("running", "num_batches")
        ):  # of the batch's parts, in the order in which a process sees them
            torch.testing.assert_close(states[1][name], tensor, rtol=0, atol=1e-4, msg=name)
