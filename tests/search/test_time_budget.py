from pathlib import Path

import pytest
import torch

from search.curve import METRICS
from search.errors import TrainingError
from search.oneshot.ssl import SSL
from search.supernet import WEIGHTS
from tests.search.small_runs import LAST, ctrl_c, interrupt_at, tiny, train
from tests.search.small_supernets import stripes


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
