import dataclasses
import platform
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hardware_profiles import Latency, LatencyTable, estimate_ms
from search.errors import BadSupernet, InfeasibleBudget, NotEnoughImages, WrongTable
from search.scores import LEARNED, SCORES, SIZE
from search.subnets.costs import CostModel
from search.subnets.evolution import find, find_each, front, scored_at
from search.subnets.proposals import Goal
from search.supernet import Supernet
from search.types import Budget, Candidate, SearchResult, Task
from tests.search.small_supernets import accuracy_of, made_up_table, random_supernet, stripes

PX = 16


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    return random_supernet("tiny", PX)


@pytest.fixture(scope="module")
def table() -> LatencyTable:
    return made_up_table("tiny", PX)


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return stripes(24, 20)


@pytest.fixture(scope="module")
def all_rows(supernet: Supernet) -> np.ndarray:
    grid = np.meshgrid(*[np.arange(len(choice.options)) for choice in supernet.net.space], indexing="ij")
    return np.stack([g.ravel() for g in grid], axis=1)


@pytest.fixture(scope="module")
def all_costs(supernet: Supernet, table: LatencyTable, all_rows: np.ndarray) -> dict[str, np.ndarray]:
    return dict(vars(CostModel(supernet.net, table)(all_rows)))


def search(supernet: Supernet, table: LatencyTable, pixels: Tensor, budget: Budget, **options: Any) -> SearchResult:
    return find(supernet, table, pixels, budget, **{"evaluations": 12, "generations": 2, "images": 16} | options)


def test_by_size_the_network_that_computes_most_wins_whatever_the_images(
    supernet: Supernet, table: LatencyTable, pixels: Tensor, all_costs: dict[str, np.ndarray]
) -> None:
    found = search(supernet, table, pixels, Budget(latency_ms=1e9), criterion=SIZE, evaluations=64)
    assert found.best.macs == max(c.macs for c in found.evaluated) and found.best.score <= 1
    assert all(c.score == pytest.approx(c.macs / all_costs["macs"].max()) for c in found.evaluated)
    fits = all_costs["predicted_ms"] <= 5
    within = search(supernet, table, pixels, Budget(latency_ms=5), criterion=SIZE)
    assert within.best.macs == all_costs["macs"][fits].max(), "of all that fit, the largest"
    assert search(supernet, table, 255 - pixels, Budget(latency_ms=5), criterion=SIZE).evaluated == (
        search(supernet, table, pixels, Budget(latency_ms=5), criterion=SIZE).evaluated
    )


@pytest.fixture(scope="module")
def learned(supernet: Supernet) -> Supernet:
    return dataclasses.replace(supernet, accuracy=accuracy_of(supernet.net))


def test_by_its_accuracy_table_the_network_of_most_points_wins_whatever_the_images(
    learned: Supernet, table: LatencyTable, pixels: Tensor, all_rows: np.ndarray, all_costs: dict[str, np.ndarray]
) -> None:
    assert learned.accuracy is not None
    found = search(learned, table, pixels, Budget(latency_ms=5))
    assert found.criterion == LEARNED
    by_table = learned.accuracy.at(PX)
    points = by_table(all_rows)
    assert found.best.score == pytest.approx(points[all_costs["predicted_ms"] <= 5].max()), "of all that fit"
    for candidate in found.evaluated:
        assert candidate.score == pytest.approx(by_table(learned.net.encode([candidate.architecture]))[0])
    assert search(learned, table, 255 - pixels, Budget(latency_ms=5)).evaluated == found.evaluated


def test_a_table_decides_for_classifiers_alone_and_where_there_is_one(
    supernet: Supernet, learned: Supernet, table: LatencyTable, pixels: Tensor
) -> None:
    by_task = {task: search(learned, table, pixels, Budget(latency_ms=5), task=task).criterion for task in Task}
    assert by_task == {**SCORES, Task.CLS: LEARNED}
    with pytest.raises(ValueError, match="has no accuracy table"):
        search(supernet, table, pixels, Budget(latency_ms=5), criterion=LEARNED)


@pytest.mark.parametrize("criterion", ["pooled CKA", "together", "RankMe"])
def test_any_criterion_of_one_look_can_decide(
    supernet: Supernet, table: LatencyTable, pixels: Tensor, criterion: str
) -> None:
    found = search(supernet, table, pixels, Budget(latency_ms=5), criterion=criterion)
    assert found.best.score == max(c.score for c in found.evaluated)
    assert found.evaluated != search(supernet, table, pixels, Budget(latency_ms=5)).evaluated


@pytest.mark.parametrize("criterion", ["LiDAR", "accuracy"])
def test_a_criterion_that_cannot_decide_is_refused(
    supernet: Supernet, table: LatencyTable, pixels: Tensor, criterion: str
) -> None:
    with pytest.raises(ValueError, match=f"criterion is '{criterion}'; known are MACs"):
        search(supernet, table, pixels, Budget(latency_ms=5), criterion=criterion)


def middle(values: np.ndarray) -> float:
    return float(np.median(values))


def test_same_arguments_give_the_same_result(supernet: Supernet, table: LatencyTable, pixels: Tensor) -> None:
    budget = Budget(latency_ms=5)
    torch.manual_seed(1)
    first = search(supernet, table, pixels, budget)
    torch.manual_seed(2)
    second = search(supernet, table, pixels, budget)
    assert dataclasses.replace(first, seconds=0) == dataclasses.replace(second, seconds=0)
    other = search(supernet, table, pixels, budget, seed=1)
    assert other.seed == 1 and other.evaluated != first.evaluated


def test_a_search_leaves_the_supernet_and_the_images_as_they_were(
    supernet: Supernet, table: LatencyTable, pixels: Tensor
) -> None:
    weights, before = {k: v.clone() for k, v in supernet.weights.items()}, pixels.clone()
    search(supernet, table, pixels, Budget(latency_ms=5))
    assert torch.equal(pixels, before)
    assert all(torch.equal(v, weights[k]) for k, v in supernet.weights.items())


@pytest.mark.parametrize(
    ("cost", "limit"),
    [
        ("predicted_ms", "latency_ms"),
        ("macs", "max_macs"),
        ("params", "max_params"),
        ("peak_memory_bytes", "max_memory_bytes"),
    ],
)
def test_every_network_that_is_scored_meets_the_budget(
    supernet: Supernet,
    table: LatencyTable,
    pixels: Tensor,
    all_costs: dict[str, np.ndarray],
    cost: str,
    limit: str,
) -> None:
    most = middle(all_costs[cost])
    result = search(supernet, table, pixels, Budget(**{limit: most}))
    costs = [getattr(candidate, cost) for candidate in result.evaluated]
    assert max(costs) <= most
    assert max(costs) > 0.9 * most or max(costs) == max(v for v in all_costs[cost] if v <= most)


def test_all_limits_hold_at_once(
    supernet: Supernet, table: LatencyTable, pixels: Tensor, all_costs: dict[str, np.ndarray]
) -> None:
    budget = Budget(latency_ms=middle(all_costs["predicted_ms"]), max_params=int(middle(all_costs["params"])))
    result = search(supernet, table, pixels, budget)
    assert all(c.predicted_ms <= budget.latency_ms and c.params <= budget.max_params for c in result.evaluated)


def test_a_candidate_s_numbers_are_its_architecture_s(supernet: Supernet, table: LatencyTable, pixels: Tensor) -> None:
    for candidate in search(supernet, table, pixels, Budget(latency_ms=5)).evaluated:
        subnet = supernet.subnet(candidate.architecture)
        assert candidate.params == sum(p.numel() for p in subnet.parameters())
        ops = supernet.net.ops(candidate.architecture)
        assert candidate.predicted_ms == pytest.approx(estimate_ms(table, ops), rel=1e-9)
        assert -1 <= candidate.score <= 1 + 1e-9


def test_the_best_is_the_highest_score_and_along_the_front_more_time_never_scores_lower(
    supernet: Supernet, table: LatencyTable, pixels: Tensor
) -> None:
    result = search(supernet, table, pixels, Budget(latency_ms=8))
    assert result.best in result.evaluated
    assert result.best.score == max(candidate.score for candidate in result.evaluated) == result.front[-1].score
    times = [candidate.predicted_ms for candidate in result.front]
    scores = [candidate.score for candidate in result.front]
    assert times == sorted(times) and scores == sorted(scores)
    for candidate in result.evaluated:
        assert any(f.predicted_ms <= candidate.predicted_ms and f.score >= candidate.score for f in result.front)


def test_the_front_holds_no_network_that_a_faster_one_outscores() -> None:
    def candidate(predicted_ms: float, score: float) -> Candidate:
        return Candidate(
            architecture=None,  # type: ignore[arg-type]
            score=score,
            predicted_ms=predicted_ms,
            macs=1,
            params=1,
            peak_memory_bytes=1,
        )

    points = [(3, 0.5), (1, 0.2), (2, 0.6), (2, 0.1), (4, 0.6), (5, 0.9)]
    found = front(tuple(candidate(ms, score) for ms, score in points))
    assert [(c.predicted_ms, c.score) for c in found] == [(1, 0.2), (2, 0.6), (5, 0.9)]
    assert front(()) == ()


def test_a_budget_above_everything_lets_the_largest_win(
    supernet: Supernet, table: LatencyTable, pixels: Tensor
) -> None:
    result = search(supernet, table, pixels, Budget(latency_ms=1e6), evaluations=10, generations=1)
    assert 1 <= len(result.evaluated) <= 10
    assert len({candidate.architecture for candidate in result.evaluated}) == len(result.evaluated)
    largest = supernet.net.largest(PX)
    scores = {c.architecture: c.score for c in result.evaluated}
    assert scores.get(largest, 1.0) == pytest.approx(1.0)


def test_a_space_smaller_than_the_evaluations_is_scored_whole(
    supernet: Supernet, table: LatencyTable, pixels: Tensor, all_costs: dict[str, np.ndarray]
) -> None:
    few_ms = float(np.sort(all_costs["predicted_ms"])[4])
    result = search(supernet, table, pixels, Budget(latency_ms=few_ms), evaluations=60)
    assert len(result.evaluated) == 5


def test_one_evaluation_is_a_search(supernet: Supernet, table: LatencyTable, pixels: Tensor) -> None:
    assert len(search(supernet, table, pixels, Budget(latency_ms=5), evaluations=1).evaluated) == 1


def test_progress_counts_to_the_number_of_networks_scored(
    supernet: Supernet, table: LatencyTable, pixels: Tensor
) -> None:
    seen: list[tuple[int, int]] = []
    result = search(
        supernet, table, pixels, Budget(latency_ms=5), progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(i + 1, 12) for i in range(len(result.evaluated))]


def test_an_unreachable_budget_names_the_fastest_network(
    supernet: Supernet, table: LatencyTable, pixels: Tensor, all_costs: dict[str, np.ndarray]
) -> None:
    # A block that is no prefix of the smallest network is made the fast one: measured tables do such things.
    shortcut = supernet.net.ops(supernet.net.largest(PX))[0]
    quick = Latency(median_ms=1e-6, p90_ms=1e-6, samples=1)
    uneven = dataclasses.replace(table, entries={**table.entries, shortcut: quick})
    for of in (table, uneven):
        cost = CostModel(supernet.net, of)
        grid = np.meshgrid(*[np.arange(len(choice.options)) for choice in supernet.net.space], indexing="ij")
        fastest_ms = cost(np.stack([g.ravel() for g in grid], axis=1)).predicted_ms.min()
        with pytest.raises(InfeasibleBudget) as caught:
            search(supernet, of, pixels, Budget(latency_ms=0.9 * fastest_ms, max_params=10**9))
        error = caught.value
        assert (error.asked, error.unit) == (0.9 * fastest_ms, "ms")
        assert error.reachable == pytest.approx(fastest_ms)
        assert estimate_ms(of, supernet.net.ops(error.nearest)) == pytest.approx(fastest_ms)
        assert "\n" not in str(error)
        exact = search(supernet, of, pixels, Budget(latency_ms=fastest_ms))
        assert exact.best.predicted_ms == pytest.approx(fastest_ms)


def test_an_unreachable_limit_is_named_by_its_own_unit(
    supernet: Supernet, table: LatencyTable, pixels: Tensor, all_costs: dict[str, np.ndarray]
) -> None:
    for budget, unit, cost in (
        (Budget(latency_ms=1e6, max_params=1), "parameters", "params"),
        (Budget(latency_ms=1e6, max_macs=1), "MACs", "macs"),
        (Budget(latency_ms=1e6, max_memory_bytes=1), "bytes", "peak_memory_bytes"),
    ):
        with pytest.raises(InfeasibleBudget) as caught:
            search(supernet, table, pixels, budget)
        assert (caught.value.unit, caught.value.reachable) == (unit, all_costs[cost].min())


def test_a_table_of_another_net_or_resolution_is_refused(
    supernet: Supernet, table: LatencyTable, pixels: Tensor
) -> None:
    with pytest.raises(WrongTable, match="is of net 'resnet', the supernet of 'tiny'"):
        search(supernet, made_up_table("resnet", PX), pixels, Budget(latency_ms=5))
    with pytest.raises(WrongTable, match="holds for 16 px, not 32"):
        search(supernet, table, pixels, Budget(latency_ms=5), resolution_px=32)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"evaluations": 0}, ValueError, "0 evaluations"),
        ({"generations": -1}, ValueError, "-1 generations"),
        ({"images": 1}, NotEnoughImages, "1 image"),
    ],
)
def test_what_asks_for_no_search_is_refused(
    supernet: Supernet,
    table: LatencyTable,
    pixels: Tensor,
    options: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        search(supernet, table, pixels, Budget(latency_ms=5), **options)


def test_weights_that_give_no_finite_features_are_refused(
    supernet: Supernet, table: LatencyTable, pixels: Tensor
) -> None:
    broken = dataclasses.replace(
        supernet, weights={**supernet.weights, "projector.0.weight": supernet.weights["projector.0.weight"] * np.nan}
    )
    with pytest.raises(BadSupernet, match="untrained gives features that are not finite"):
        search(broken, table, pixels, Budget(latency_ms=5))


@pytest.mark.parametrize("task", Task)
def test_every_task_is_searched_and_none_beats_the_largest_network(
    supernet: Supernet, table: LatencyTable, pixels: Tensor, task: Task
) -> None:
    everything = Budget(latency_ms=1e6)
    result = search(supernet, table, pixels, everything, task=task)
    scores = {candidate.architecture: candidate.score for candidate in result.evaluated}
    assert scores.pop(supernet.net.largest(PX), 1.0) == pytest.approx(1)
    assert scores and all(score < 1 for score in scores.values())
    again = search(supernet, table, pixels, everything, task=task)
    assert dataclasses.replace(again, seconds=0) == dataclasses.replace(result, seconds=0)


def test_each_task_is_scored_by_its_criterion_and_the_result_names_it(
    supernet: Supernet, table: LatencyTable, pixels: Tensor
) -> None:
    results = [search(supernet, table, pixels, Budget(latency_ms=5), task=task, generations=0) for task in Task]
    scored = [{c.architecture: c.score for c in result.evaluated} for result in results]
    assert {task: result.criterion for task, result in zip(Task, results, strict=True)} == SCORES
    assert len({tuple(scores.values()) for scores in scored}) == len({*SCORES.values()})


def other_device(table: LatencyTable, device_id: str, scale: float) -> LatencyTable:
    """A device on which every second block is slower."""
    slower = {
        key: Latency(median_ms=ms.median_ms * (1 + i % 2), p90_ms=2, samples=1)
        for i, (key, ms) in enumerate(table.entries.items())
    }
    device = dataclasses.replace(table.device, id=device_id)
    return dataclasses.replace(table, device=device, entries=slower, scale=scale)


def test_several_devices_share_scores_and_each_gets_its_own_front(
    supernet: Supernet, table: LatencyTable, pixels: Tensor
) -> None:
    slow = other_device(table, "slow", 3.0)
    goals = [Goal(table=table, budget=Budget(latency_ms=6)), Goal(table=slow, budget=Budget(latency_ms=20))]
    seen: list[tuple[int, int]] = []
    options: dict[str, Any] = {"evaluations": 12, "generations": 2, "images": 16}
    results = find_each(supernet, goals, pixels, **options, progress=lambda *at: seen.append(at))
    assert [result.device_id for result in results] == ["made-up", "slow"]
    assert seen[-1][0] <= 24 and seen[-1][1] == 24
    for result, goal in zip(results, goals, strict=True):
        alone = find(supernet, goal.table, pixels, goal.budget, **options)
        assert len(result.evaluated) >= len(alone.evaluated)
        for candidate in result.evaluated:
            ops = supernet.net.ops(candidate.architecture)
            assert candidate.predicted_ms <= (goal.budget.latency_ms or 0)
            assert candidate.predicted_ms == pytest.approx(estimate_ms(goal.table, ops))
        assert result.front == front(result.evaluated) and result.best in result.front
    shared = [{c.architecture: c.score for c in result.evaluated} for result in results]
    both = shared[0].keys() & shared[1].keys()
    assert both and all(shared[0][a] == shared[1][a] for a in both)


def test_a_device_that_cannot_meet_its_budget_is_named(supernet: Supernet, table: LatencyTable, pixels: Tensor) -> None:
    goals = [
        Goal(table=table, budget=Budget(latency_ms=6)),
        Goal(table=other_device(table, "slow", 3.0), budget=Budget(latency_ms=1e-3)),
    ]
    with pytest.raises(InfeasibleBudget, match=r"meets 0\.001 ms on slow;"):
        find_each(supernet, goals, pixels)


def test_devices_at_different_resolutions_cannot_share_scores(
    supernet: Supernet, table: LatencyTable, pixels: Tensor
) -> None:
    goals = [Goal(table=t, budget=Budget(latency_ms=6)) for t in (table, made_up_table("tiny", 32))]
    with pytest.raises(WrongTable, match="holds for 32 px, not 16"):
        find_each(supernet, goals, pixels)


FAULTS = """
import resource, torch
from search.allocator import keep_memory

net = torch.nn.Sequential(*(torch.nn.Conv2d(3 if i == 0 else 16, 16, 3, padding=1) for i in range(6)))
x_NCHW = torch.randn(4, 3, 256, 256)

def faults():
    "Page faults of ten passes, each map of which has 17 MB."
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    with torch.no_grad():
        for _ in range(10):
            net(x_NCHW)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
fetched = faults()
assert keep_memory()
faults()
print(fetched, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_most_memory_that_was_given_back_is_not_fetched_from_the_system_again() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    fetched, kept = map(int, done.stdout.split())
    assert kept < fetched / 2


def test_large_inputs_are_scored_smaller_in_about_their_proportions_and_no_smaller_one_is_changed() -> None:
    assert [scored_at(px, px) for px in (16, 64, 160, 224, 320)] == [
        (16, 16),
        (64, 64),
        (160, 160),
        (160, 160),
        (160, 160),
    ]
    height, width = scored_at(192, 320)
    assert height % 32 == width % 32 == 0 and height * width <= 1.1 * 160**2 and 1.4 < width / height < 1.8
