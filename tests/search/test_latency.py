import numpy as np
import pytest
import torch

from hardware_profiles import MissingOp, estimate_ms
from search.errors import WrongTable
from search.nets import NETS, Net
from search.oneshot.latency import TableProfiler
from search.oneshot.space import SupernetSpace, sample_of
from tests.search.small_supernets import TINY, made_up_table

# After ours, which keep NNI's first import from warning.
from nni.nas.oneshot.pytorch.profiler import ExpectationProfilerPenalty, RangeProfilerFilter  # isort: skip

PX = 16
NETWORKS = {"mobile": 400, "resnet": 300, "tiny": 300}
every_net = pytest.mark.parametrize("net", [NETS["mobile"], NETS["resnet"], TINY], ids=lambda net: net.name)


@pytest.fixture(scope="module")
def profilers() -> dict[str, TableProfiler]:
    made = {}
    with torch.device("meta"):
        for net in (NETS["mobile"], NETS["resnet"], TINY):
            made[net.name] = TableProfiler(
                SupernetSpace(net, hidden_dim=4, projection_dim=2), net, made_up_table(net.name, PX)
            )
    return made


def networks(net: Net, count: int) -> list:
    rng = np.random.default_rng(0)
    return [net.smallest(PX), net.largest(PX), *(net.random(PX, rng) for _ in range(count - 2))]


def one_hot(profiler: TableProfiler, sample: dict) -> dict[str, dict]:
    labels = profiler.expression.simplify()
    return {label: {option: float(option == sample[label]) for option in labels[label].values} for label in labels}


@every_net
def test_a_sample_s_profile_is_the_estimate_of_its_network(net: Net, profilers: dict[str, TableProfiler]) -> None:
    table = made_up_table(net.name, PX)
    for architecture in networks(net, NETWORKS[net.name]):
        expected = estimate_ms(table, net.ops(architecture))
        assert profilers[net.name].profile(sample_of(net, architecture)) == pytest.approx(expected, rel=1e-6)


@every_net
def test_the_filter_lets_through_what_the_table_puts_in_its_range(
    net: Net, profilers: dict[str, TableProfiler]
) -> None:
    table = made_up_table(net.name, PX)
    few = networks(net, 20)
    times_ms = [estimate_ms(table, net.ops(architecture)) for architecture in few]
    limit_ms = float(np.median(times_ms)) + 1e-9
    keep = RangeProfilerFilter(profilers[net.name], max=limit_ms)
    assert [keep(sample_of(net, architecture)) for architecture in few] == [ms <= limit_ms for ms in times_ms]


@every_net
def test_a_certain_choice_is_expected_to_take_its_own_time(net: Net, profilers: dict[str, TableProfiler]) -> None:
    profiler = profilers[net.name]
    penalty = ExpectationProfilerPenalty(profiler, baseline=2.0)
    for architecture in networks(net, 4):
        sample = sample_of(net, architecture)
        loss, details = penalty(torch.tensor(1.0), one_hot(profiler, sample))
        assert float(details["penalty"]) == pytest.approx(profiler.profile(sample), rel=1e-6)
        assert float(loss) == pytest.approx(1 + profiler.profile(sample) / 2 - 1, rel=1e-6)


def test_the_expectation_is_the_mean_over_random_networks(profilers: dict[str, TableProfiler]) -> None:
    profiler, rng = profilers["tiny"], np.random.default_rng(0)
    labels = {label: list(choice.values) for label, choice in profiler.expression.simplify().items()}
    even = {label: {option: 1 / len(options) for option in options} for label, options in labels.items()}
    _, details = ExpectationProfilerPenalty(profiler, baseline=1.0)(torch.tensor(0.0), even)
    draws = [{label: options[rng.integers(len(options))] for label, options in labels.items()} for _ in range(3000)]
    assert details["penalty"] == pytest.approx(np.mean([profiler.profile(draw) for draw in draws]), rel=0.02)


def test_the_penalty_s_gradient_prefers_the_faster_option(profilers: dict[str, TableProfiler]) -> None:
    profiler = profilers["mobile"]
    labels = {label: list(choice.values) for label, choice in profiler.expression.simplify().items()}
    logits = {label: torch.zeros(len(options), requires_grad=True) for label, options in labels.items()}
    weights = {
        label: dict(zip(options, torch.softmax(logits[label], 0), strict=True)) for label, options in labels.items()
    }
    loss, _ = ExpectationProfilerPenalty(profiler, baseline=1.0)(torch.tensor(0.0), weights)
    loss.backward()
    skip, use = logits["layer2.used"].grad
    assert labels["layer2.used"] == ["skip", "block"] and use > 0 > skip


def test_a_table_of_another_net_is_refused() -> None:
    with torch.device("meta"), pytest.raises(WrongTable, match="of net 'resnet', not 'tiny'"):
        TableProfiler(SupernetSpace(TINY, hidden_dim=4, projection_dim=2), TINY, made_up_table("resnet", PX))


def test_a_table_without_a_block_names_it() -> None:
    table = made_up_table("tiny", PX)
    table.entries.pop(TINY.op_keys(PX)[2])  # type: ignore[attr-defined]
    with torch.device("meta"), pytest.raises(MissingOp):
        TableProfiler(SupernetSpace(TINY, hidden_dim=4, projection_dim=2), TINY, table)
