import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from search.curve import METRICS
from search.errors import TrainingError
from search.oneshot.engine.schedule import ENDLESS, Pace, Plan, even
from search.oneshot.ssl import SSL
from search.recipes import Recipe, Stage
from search.supernet import WEIGHTS
from tests.search.small_runs import LAST, ctrl_c, interrupt_at, tiny, train
from tests.search.small_supernets import stripes

STAGES = Recipe().stages


def test_an_even_plan_is_the_fraction_of_the_steps() -> None:
    plan = even(7)
    assert plan.steps == 7
    assert [plan.progress(step) for step in range(8)] == [step / 7 for step in range(8)]
    assert plan.progress(100) == 1


def test_a_correction_keeps_the_past_jumps_nowhere_and_ends_at_one() -> None:
    plan = even(100).corrected(40, 60)
    assert [plan.progress(step) for step in range(41)] == pytest.approx([step / 100 for step in range(41)])
    assert plan.progress(50) == pytest.approx(0.7) and plan.steps == 60 and plan.progress(60) == 1
    assert plan.corrected(50, 20).steps == 51  # there is always a next step
    assert plan.corrected(40, 100).progress(70) == pytest.approx(0.7)


def run(cost_s: Callable[[int, int], float], max_s: float) -> tuple[Plan, float, list[float]]:
    """A run whose step ``i`` with crops of ``px`` takes ``cost_s(i, px)``: its plan, its seconds, its progress."""
    recipe = replace(Recipe(), stages=STAGES)
    plan, seconds, step = even(ENDLESS), 0.0, 0
    pace, path = Pace(STAGES, max_s, step=0, seconds=0.0), []
    while step < plan.steps:
        path.append(plan.progress(step))
        px = recipe.crop_px(path[-1])
        seconds += cost_s(step, px)
        step += 1
        plan = pace.after(step, px, recipe.crop_px(plan.progress(step)), seconds, plan)
    return plan, seconds, path


@pytest.mark.parametrize(
    "cost_s",
    [
        lambda step, px: 0.1 * (px / 16) ** 2,
        lambda step, px: 0.1,
        lambda step, px: 0.1 * (px / 16) ** 3,
        lambda step, px: (5 if step == 0 else 0.1) * (px / 16) ** 2,
        lambda step, px: (0.1 if step < 300 else 0.2) * (px / 16) ** 2,
        lambda step, px: (0.1 if step < 300 else 0.05) * (px / 16) ** 2,
        lambda step, px: 0.1 + 0.02 * (step % 7),
    ],
    ids=["by pixels", "the same", "by more", "slow start", "slower later", "faster later", "uneven"],
)
def test_a_run_of_a_given_time_ends_with_it_and_with_its_schedule(cost_s: Callable[[int, int], float]) -> None:
    plan, seconds, path = run(cost_s, 100.0)
    assert 95 <= seconds <= 101
    assert path == sorted(path) and plan.progress(plan.steps) == 1
    last = [sum(cost_s(i, 32) for i, p in enumerate(path) if p >= STAGES[1].until)]
    assert any(p >= STAGES[1].until for p in path) and last[0] > 0  # the last crops were seen
    assert len(plan.knots) < 60
    assert max(b - a for a, b in itertools.pairwise(path)) < 0.02


def test_a_time_for_a_few_steps_gives_a_few_steps() -> None:
    plan, seconds, path = run(lambda step, px: 1.0, 5.0)
    assert 2 <= plan.steps <= 6 and seconds <= 6 and path[-1] < 1
    assert run(lambda step, px: 1.0, 0.1)[0].steps <= 2


def test_a_resumed_run_keeps_to_the_time_that_is_left() -> None:
    plan, pace = even(1000), Pace((Stage(until=1.0, crop_px=16),), 100.0, step=500, seconds=80.0)
    later = pace.after(501, 16, 16, 80.1, plan)
    assert later.progress(501) == plan.progress(501)
    assert 185 <= later.steps - 501 <= 200


def test_a_finished_plan_is_not_prolonged() -> None:
    plan = even(10)
    assert Pace(STAGES, 1000.0, step=9, seconds=1.0).after(10, 32, 32, 2.0, plan) == plan


def test_a_run_of_a_given_time_ends_its_schedule_and_a_resumed_one_follows_its_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, clock = stripes(64, 20), Clock(step_s=0.5)
    monkeypatch.setattr("search.oneshot.engine.checkpoints.time.perf_counter", clock)
    two_views = SSL.two_views
    monkeypatch.setattr(SSL, "two_views", lambda self, *at: (clock.tick(), two_views(self, *at))[1])
    out, recipe = tmp_path / "out", tiny(random_subnets=0)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_at(9, patch, ctrl_c)
        train(recipe, pixels, out, max_minutes=0.25)
    clock.now += 1000  # which the interruption took
    made = train(recipe, pixels, out, max_minutes=0.25, resume=True)
    steps = made.card.training["steps"]
    assert 25 <= steps <= 30  # of half a second, in a quarter of a minute
    assert made.card.training["max_minutes"] == 0.25 and made.card.recipe["epochs"] == steps / 4
    rows = [line.split(",") for line in (out / METRICS).read_text().splitlines()[1:]]
    assert [int(row[0]) for row in rows] == list(range(steps))
    crops, rates = [int(row[1]) for row in rows], [float(row[2]) for row in rows]
    assert crops == sorted(crops) and 0.3 * steps < crops.count(16) < 0.5 * steps
    falling = rates[rates.index(max(rates)) :]
    assert falling == sorted(falling, reverse=True) and falling[-1] < 0.05 * falling[0]
    files = [(out / name).read_bytes() for name in (WEIGHTS, METRICS)]
    train(recipe, pixels, out, resume=True)
    assert [(out / name).read_bytes() for name in (WEIGHTS, METRICS)] == files
    data = torch.load(out / LAST, weights_only=True)
    data["subnet_zoo_plan"] = [*data["subnet_zoo_plan"][:-1], [steps + 5, 1.0]]
    torch.save(data, out / LAST)
    with pytest.raises(TrainingError, match=r"the run took 0.2 minutes before, and 0.1 are allowed; allow more"):
        train(recipe, pixels, out, max_minutes=0.1, resume=True)


class Clock:
    """Seconds that pass when a step is taken, and only then."""

    def __init__(self, step_s: float) -> None:
        self.now, self._step_s = 100.0, step_s

    def __call__(self) -> float:
        return self.now

    def tick(self) -> None:
        self.now += self._step_s
