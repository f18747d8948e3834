import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from hardware_profiles import LatencyTable, MissingOp, count_compute, estimate_ms
from search.costs import CostModel, Costs
from search.nets import NETS, Net
from tests.search.small_supernets import TINY, made_up_table

PX = 16
every_net = pytest.mark.parametrize("net", [NETS["mobile"], NETS["resnet"], TINY], ids=lambda net: net.name)


def random_rows(net: Net, count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    ends = net.encode([net.smallest(PX), net.largest(PX)])
    return np.concatenate([ends, net.encode([net.random(PX, rng) for _ in range(count)])])


def arrays(costs: Costs) -> dict[str, np.ndarray]:
    return dict(vars(costs))


@every_net
def test_milliseconds_are_the_table_s_estimate(net: Net) -> None:
    table = made_up_table(net.name, PX)
    rows = random_rows(net, 30)
    predicted_ms = CostModel(net, table)(rows).predicted_ms
    for ms, architecture in zip(predicted_ms, net.decode(rows, PX), strict=True):
        blocks_ms = [table.entries[key].median_ms for key in net.ops(architecture)]
        assert ms == pytest.approx(0.25 + 1.5 * sum(blocks_ms), rel=1e-9)
        assert ms == pytest.approx(estimate_ms(table, net.ops(architecture)), rel=1e-9)


@every_net
def test_multiplications_and_parameters_are_the_whole_network_s(net: Net) -> None:
    rows = random_rows(net, 2)
    costs = CostModel(net, made_up_table(net.name, PX))(rows)
    for i, architecture in enumerate(net.decode(rows, PX)):
        with torch.device("meta"):
            whole = count_compute(net.build(architecture), (1, 3, PX, PX))
        assert (costs.macs[i], costs.params[i]) == (whole.macs, whole.params)


@every_net
def test_many_networks_at_once_cost_what_each_costs_alone(net: Net) -> None:
    cost, rows = CostModel(net, made_up_table(net.name, PX)), random_rows(net, 20)
    together = arrays(cost(rows))
    alone = [arrays(cost(row[None])) for row in rows]
    for name, values in together.items():
        assert values.shape == (len(rows),)
        assert np.array_equal(values, np.concatenate([a[name] for a in alone]))
    assert all(values.shape == (0,) for values in arrays(cost(rows[:0])).values())


def test_using_a_skipped_layer_costs_more_of_everything() -> None:
    net = NETS["mobile"]
    cost = CostModel(net, made_up_table("mobile", PX))
    for row in random_rows(net, 5):
        for i, choice in enumerate(net.space):
            if choice.options[0] == "skip":
                rows = np.repeat(row[None], len(choice.options), axis=0)
                rows[:, i] = np.arange(len(choice.options))
                costs = cost(rows)
                for values in (costs.macs, costs.params, costs.predicted_ms):
                    assert (values[1:] > values[0]).all()
                assert (costs.peak_memory_bytes[1:] >= costs.peak_memory_bytes[0]).all()


def test_a_wider_or_deeper_network_has_more_multiplications_and_parameters() -> None:
    net = NETS["resnet"]
    cost = CostModel(net, made_up_table("resnet", PX))
    for row in random_rows(net, 5):
        for i, choice in enumerate(net.space):
            rows = np.repeat(row[None], len(choice.options), axis=0)
            rows[:, i] = np.arange(len(choice.options))
            costs = cost(rows)
            assert (np.diff(costs.macs) > 0).all() and (np.diff(costs.params) > 0).all()


def test_peak_memory_is_the_weights_and_the_busiest_moment_of_the_busiest_block() -> None:
    architecture = NETS["mobile"].smallest(PX)
    costs = CostModel(NETS["mobile"], made_up_table("mobile", PX))(NETS["mobile"].encode([architecture]))
    with torch.device("meta"):
        backbone = NETS["mobile"].build(architecture).eval()
    moments: list[int] = []
    for layer in backbone.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _, i, o: moments.append(i[0].numel() + o.numel()))
    backbone(torch.empty(1, 3, PX, PX, device="meta"))
    params = sum(p.numel() for p in backbone.parameters())
    # Between the busiest layer alone, and that layer while its block's input waits for a residual.
    assert 4 * (params + max(moments)) <= costs.peak_memory_bytes[0] <= 4 * (params + 1.5 * max(moments))


def test_costs_scale_with_the_resolution() -> None:
    net = NETS["resnet"]
    rows = random_rows(net, 3)
    small, large = (CostModel(net, made_up_table("resnet", px))(rows) for px in (16, 32))
    assert (large.params == small.params).all() and (large.macs == 4 * small.macs).all()


def test_a_table_without_a_block_names_it() -> None:
    table = made_up_table("tiny", PX)
    missing = TINY.op_keys(PX)[3]
    entries = {key: latency for key, latency in table.entries.items() if key != missing}
    lacking: LatencyTable = dataclasses.replace(table, entries=entries)
    with pytest.raises(MissingOp, match=str(missing.c_out)):
        CostModel(TINY, lacking)
