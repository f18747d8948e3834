import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch

from hardware_profiles import LatencyTable, MissingOp, OpKey, count_compute, estimate_ms, to_onnx_bytes
from search.nets import NETS, Net
from search.nets.counts import count_block
from search.subnets.costs import CostModel, Costs
from tests.onnx_memory import peak_activation_bytes
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


def test_memory_is_in_the_table_s_precision_and_for_its_batch() -> None:
    net, table = NETS["mobile"], made_up_table("mobile", PX)
    rows = random_rows(net, 3)
    one = CostModel(net, table)(rows)
    activations = one.peak_memory_bytes - 4 * one.params
    assert (activations > 0).all()
    for precision, size_bytes in (("fp32", 4), ("fp16", 2), ("int8", 1)):
        device = dataclasses.replace(table.device, precision=precision, batch=3)
        three = CostModel(net, dataclasses.replace(table, device=device))(rows)
        assert (three.peak_memory_bytes == size_bytes * (3 * activations // 4 + three.params)).all()


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


NAMES = ("mobile", "mobile-photo", "resnet", "resnet-photo", "resnet-ar50to101", "cell")
every_kind = pytest.mark.parametrize("net", [NETS[name] for name in NAMES], ids=NAMES)


def some_of_each_kind(net: Net, each: int) -> list[OpKey]:
    """Smallest, largest and others of every kind of block, at an odd and an even side."""
    chosen: list[OpKey] = []
    for px in (64, 60) if "50" in net.name else (PX, 15):
        keys = net.op_keys(px)
        for kind in sorted({key.kind for key in keys}):
            of_kind = sorted(key for key in keys if key.kind == kind)
            chosen += [of_kind[round(i)] for i in np.linspace(0, len(of_kind) - 1, each)]
    return list(dict.fromkeys(chosen))


@every_kind
def test_a_block_s_count_is_that_of_the_module_built_for_it(net: Net) -> None:
    for key in some_of_each_kind(net, 3):
        with torch.device("meta"):
            built = count_compute(net.build_op(key), (1, key.c_in, key.height_px, key.width_px))
        counted = count_block(key)
        assert (counted.macs, counted.params) == (built.macs, built.params), key


@every_kind
def test_a_block_s_peak_is_that_of_its_graph(net: Net) -> None:
    for key in some_of_each_kind(net, 2):
        graph = to_onnx_bytes(net.build_op(key).eval(), (1, key.c_in, key.height_px, key.width_px))
        assert 4 * count_block(key).peak_elements == peak_activation_bytes(graph), key


def test_a_block_of_unknown_kind_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="kind 'transformer'"):
        count_block(OpKey(kind="transformer", c_in=1, c_out=1, height_px=1, width_px=1))


@pytest.mark.parametrize("net", [NETS["mobile"], NETS["resnet"], TINY], ids=lambda net: net.name)
def test_a_network_s_peak_is_that_of_its_whole_graph(net: Net) -> None:
    rng = np.random.default_rng(0)
    architectures = [net.smallest(PX), net.largest(PX), net.random(PX, rng)]
    costs = CostModel(net, made_up_table(net.name, PX))(net.encode(architectures))
    for architecture, peak_bytes, params in zip(architectures, costs.peak_memory_bytes, costs.params, strict=True):
        graph = to_onnx_bytes(net.build(architecture).eval(), (1, 3, PX, PX))
        assert peak_bytes - 4 * params == peak_activation_bytes(graph)


def test_a_stack_of_cells_holds_no_more_than_its_bound() -> None:
    net, rng = NETS["cell"], np.random.default_rng(0)
    cells = [net.random(PX, rng).choices for _ in range(3)]
    architectures = [
        replace(net.smallest(PX), choices=(5, channels, *c[2:])) for channels, c in zip((8, 16, 24), cells, strict=True)
    ]
    costs = CostModel(net, made_up_table("cell", PX))(net.encode(architectures))
    for architecture, peak_bytes, params in zip(architectures, costs.peak_memory_bytes, costs.params, strict=True):
        graph = to_onnx_bytes(net.build(architecture).eval(), (1, 3, PX, PX))
        activations = peak_bytes - 4 * params
        assert 0.5 * activations < peak_activation_bytes(graph) <= activations
