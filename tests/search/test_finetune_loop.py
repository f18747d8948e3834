"""The loop of fine-tuning: what it learns does not depend on being interrupted, and it stops when it should.

``python -m tests.search.test_finetune_loop OUT DEVICES`` trains on several processes, which ``OUT`` tells of.
"""

import subprocess
import sys
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
from search.finetune.losses import class_loss, mask_loss
from search.labels.arrays import Targets, decode
from search.labels.inputs import Input
from search.labels.read import untold
from search.labels.samples import IGNORED, Sample, Samples
from search.labels.views import Views
from search.machines import Machines
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
    return noise(tmp_path)


def noise(folder: Path, task: Task = Task.CLS) -> Views:
    rng = np.random.default_rng(0)
    samples = []
    for i in range(14):
        path = folder / f"{i}.png"
        pixels = rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        mask = np.where(i % 3, IGNORED, pixels[..., 0] // 100).astype(np.uint8)  # shares of a batch are not alike
        Image.fromarray(mask).save(folder / f"{i}-mask.png")
        samples.append(Sample(path=path, size_px=(12, 12), label=i % 2, mask=folder / f"{i}-mask.png"))
    how = Input(size_px=(12, 12), mean=(0.5,) * 3, std=(0.3,) * 3, fit="crop" if task is Task.CLS else "letterbox")
    known = Samples(task=task, classes=("a", "b", "c"), samples=tuple(samples))
    return Views(decode(known, how, folder, "train", placed_masks=True, told=untold), how, seed=3)


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


class Dense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU())
        self.head = nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))  # type: ignore[no-any-return]


def both_tasks(out: Path, devices: int) -> None:
    for task in (Task.CLS, Task.SEG):
        folder = out / str(task)
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        network = Dense()

        def loss(network: nn.Module, x: Tensor, targets: Targets, task: Task = task) -> Tensor:
            found = network(x)
            return class_loss(found.mean((2, 3)), targets) if task is Task.CLS else mask_loss(found, targets)

        machines = Machines(devices=devices)
        views = noise(folder, task)
        told = train(
            network, loss, views, score, PLAN, folder=folder, resume=False, machines=machines, progress=untold, say=str
        )
        if told is not None:
            torch.save({"weights": network.state_dict(), "rows": [dict(row) for row in told.rows]}, out / f"{task}.pt")


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_from_the_same_batches(tmp_path: Path) -> None:
    for devices in (1, 2):
        command = [sys.executable, "-W", "ignore", "-m", "tests.search.test_finetune_loop"]
        subprocess.run(
            [*command, str(tmp_path / str(devices)), str(devices)], cwd=Path(__file__).parents[2], check=True
        )
    for task in (Task.CLS, Task.SEG):
        one, two = (torch.load(tmp_path / str(n) / f"{task}.pt", weights_only=True) for n in (1, 2))
        for row, other in zip(one["rows"], two["rows"], strict=True):
            assert other == pytest.approx({**row, "minutes": other["minutes"]}, abs=2e-5)
        for name, tensor in one["weights"].items():
            torch.testing.assert_close(two["weights"][name], tensor, rtol=0, atol=1e-4, msg=f"{task} {name}")


if __name__ == "__main__":
    both_tasks(Path(sys.argv[1]), int(sys.argv[2]))
