"""The loop of fine-tuning: what it learns does not depend on being interrupted, and it stops when it should."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

pytest.importorskip("pytorch_lightning")

from search.evaluate.scores import Score
from search.finetune.loop import Plan, Trained, _groups, _rate, train
from search.labels.arrays import Targets, decode
from search.labels.inputs import Input
from search.labels.read import untold
from search.labels.samples import Sample, Samples
from search.labels.views import Views
from search.types import Task

PLAN = Plan(epochs=4, batch=4, rate=1e-2, first_layers=0.1, patience=10, seed=3)


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3))
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x).mean((2, 3)))  # type: ignore[no-any-return]


@pytest.fixture
def views(tmp_path: Path) -> Views:
    rng = np.random.default_rng(0)
    samples = []
    for i in range(14):
        path = tmp_path / f"{i}.png"
        Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(path)
        samples.append(Sample(path=path, size_px=(12, 12), label=i % 2))
    how = Input(size_px=(12, 12), mean=(0.5,) * 3, std=(0.3,) * 3, fit="crop")
    known = Samples(task=Task.CLS, classes=("a", "b"), samples=tuple(samples))
    return Views(decode(known, how, tmp_path, "train", told=untold), how, seed=3)


def loss(network: nn.Module, x: Tensor, targets: Targets) -> Tensor:
    return nn.functional.cross_entropy(network(x), targets.labels_N)


def score(network: nn.Module) -> Score:
    """As good as the weights are large: a number that tells any two networks apart."""
    return Score(values={"size": float(sum(p.abs().sum() for p in network.parameters()))}, per_class=(), images=1)


def trained(
    views: Views,
    folder: Path,
    plan: Plan = PLAN,
    *,
    loss: Callable[[nn.Module, Tensor, Targets], Tensor] = loss,
    judge: Callable[[nn.Module], Score] = score,
    resume: bool = False,
) -> tuple[Tiny, Trained]:
    torch.manual_seed(0)
    network = Tiny()
    torch.manual_seed(int(resume))  # whatever the state of torch's generator was
    folder.mkdir(exist_ok=True)
    said: list[str] = []
    found = train(network, loss, views, judge, plan, folder=folder, resume=resume, progress=untold, say=said.append)
    return network, found


@pytest.mark.parametrize("steps", [1, 4, 8])
def test_a_run_interrupted_at_any_step_ends_as_one_that_was_not(views: Views, tmp_path: Path, steps: int) -> None:
    whole, told = trained(views, tmp_path / "whole")
    left = iter(range(steps))

    def interrupted(network: nn.Module, x: Tensor, targets: Targets) -> Tensor:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return loss(network, x, targets)

    with pytest.raises(KeyboardInterrupt):
        trained(views, tmp_path / "halves", loss=interrupted)
    again, also_told = trained(views, tmp_path / "halves", resume=True)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    rows = [[{**row, "minutes": 0} for row in one.rows] for one in (told, also_told)]
    assert rows[0] == rows[1]
    curve = [(tmp_path / one / "training" / "curve.csv").read_text().splitlines() for one in ("whole", "halves")]
    assert len(curve[0]) == len(curve[1]) == 1 + PLAN.epochs


def test_a_run_that_had_ended_is_not_trained_any_further(views: Views, tmp_path: Path) -> None:
    plan = Plan(epochs=20, batch=4, rate=1e-2, first_layers=1.0, patience=2)
    worse = iter(range(100, 0, -1))

    def judge(_: nn.Module) -> Score:
        return Score(values={"top-1": next(worse) / 100}, per_class=(), images=1)

    network, found = trained(views, tmp_path / "run", plan, judge=judge)
    assert found.epochs == 3 and found.score == 1.0  # the first epoch was the best; two more did not do better
    again, same = trained(views, tmp_path / "run", plan, judge=judge, resume=True)
    assert same.epochs == 3
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))


def test_the_weights_that_are_kept_are_those_that_judged_best(views: Views, tmp_path: Path) -> None:
    seen: list[dict[str, Tensor]] = []
    marks = iter([0.1, 0.9, 0.2, 0.3])

    def judge(network: nn.Module) -> Score:
        seen.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        return Score(values={"top-1": next(marks)}, per_class=(), images=1)

    network, found = trained(views, tmp_path / "run", judge=judge)
    assert found.score == 0.9
    assert all(torch.equal(tensor, seen[1][name]) for name, tensor in network.state_dict().items())


def test_what_judges_is_a_running_average_of_the_weights(views: Views, tmp_path: Path) -> None:
    plan = Plan(epochs=1, batch=4, rate=1e-2, first_layers=1.0, patience=1)
    steps: list[Tensor] = []

    def watched(network: nn.Module, x: Tensor, targets: Targets) -> Tensor:
        steps.append(next(network.parameters()).detach().clone())
        return loss(network, x, targets)

    averages: list[Tensor] = []

    def judge(network: nn.Module) -> Score:
        averages.append(next(network.parameters()).clone())
        return score(network)

    trained(views, tmp_path / "run", plan, loss=watched, judge=judge)
    low, high = torch.stack(steps).amin(0), torch.stack(steps).amax(0)
    assert not torch.equal(averages[0], steps[0]) and not torch.equal(averages[0], steps[-1])
    assert ((averages[0] >= low - 0.02) & (averages[0] <= high + 0.02)).all()


def test_rates_rise_then_fall_and_grow_from_layer_to_layer() -> None:
    rates = [_rate(i / 200) for i in range(201)]
    top = rates.index(max(rates))
    assert rates[0] < 0.05 and rates[-1] < 0.02 and rates[top] == pytest.approx(1, abs=0.02)
    assert 0 < top <= 12  # warm-up is the first twentieth
    assert rates[:top] == sorted(rates[:top]) and rates[top:] == sorted(rates[top:], reverse=True)
    groups = _groups(Tiny(), 1.0, 0.1)
    of = {id(p): group["full_rate"] for group in groups for p in group["params"]}
    ordered = [of[id(p)] for _, p in Tiny_named(groups)]
    assert ordered == sorted(ordered) and ordered[-1] == 1.0 and 0.1 < ordered[0] < 0.3
    assert {p.ndim > 1 for group in groups if group["weight_decay"] == 0 for p in group["params"]} == {False}


def Tiny_named(groups: list[dict[str, object]]) -> list[tuple[int, nn.Parameter]]:  # noqa: N802
    return [(i, p) for i, group in enumerate(groups) for p in group["params"]]  # type: ignore[attr-defined]
