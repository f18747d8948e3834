from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.onnx_memory import peak_activation_bytes
from hardware_profiles import OpKey, count_compute, to_onnx_bytes
from search.nets import NETS, Net
from search.nets.counts import count_block
from search.subnets.costs import CostModel
from tests.search.small_supernets import TINY, made_up_table

PX = 16
NAMES = ("mobile", "mobile-photo", "resnet", "resnet-ar50to101", "cell")
every_net = pytest.mark.parametrize("net", [NETS[name] for name in NAMES], ids=NAMES)


def some_of_each_kind(net: Net, each: int) -> list[OpKey]:
    """Smallest, largest and others of every kind of block, at an odd and an even side."""
    chosen: list[OpKey] = []
    for px in (64, 60) if "50" in net.name else (PX, 15):
        keys = net.op_keys(px)
        for kind in sorted({key.kind for key in keys}):
            of_kind = sorted(key for key in keys if key.kind == kind)
            chosen += [of_kind[round(i)] for i in np.linspace(0, len(of_kind) - 1, each)]
    return list(dict.fromkeys(chosen))


@every_net
def test_a_block_s_count_is_that_of_the_module_built_for_it(net: Net) -> None:
    for key in some_of_each_kind(net, 3):
        with torch.device("meta"):
            built = count_compute(net.build_op(key), (1, key.c_in, key.height_px, key.width_px))
        counted = count_block(key)
        assert (counted.macs, counted.params) == (built.macs, built.params), key


@every_net
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
