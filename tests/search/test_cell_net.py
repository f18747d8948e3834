from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hardware_profiles import OnnxRunner, estimate_ms, to_onnx_bytes
from search.errors import BadArchitecture
from search.nets import NETS
from search.nets.cell import CELL, CELLS, CHANNELS
from search.nets.cell_body import FactorizedReduce, make_op, places, stem_stride
from search.nets.genotype import OPS, PRIMITIVES, Genotype, random_genotype
from search.nets.layers import dilated_conv2d
from search.nets.net import Fixed
from search.recalibrate import recalibrate
from search.subnets.costs import CostModel
from tests.search.small_cells import DARTS_V2
from tests.search.small_supernets import made_up_table

RNG = np.random.default_rng(0)
SOME = [random_genotype(RNG) for _ in range(3)]


def network(px: int = 16, cells: int = 5, channels: int = 8, genotype: Genotype = SOME[0]) -> nn.Module:
    return CELL.build(CELL.architecture(genotype, cells=cells, channels=channels, resolution_px=px))


@pytest.mark.parametrize(
    ("px", "cells", "channels", "classes", "published"), [(32, 20, 36, 10, 3_349_342), (224, 14, 48, 1000, 4_718_752)]
)
def test_the_published_cells_have_the_published_number_of_parameters(
    px: int, cells: int, channels: int, classes: int, published: int
) -> None:
    with torch.device("meta"):
        backbone = CELL.build(CELL.architecture(DARTS_V2, cells=cells, channels=channels, resolution_px=px))
    classifier = backbone.embedding_dim * classes + classes
    assert sum(p.numel() for p in backbone.parameters()) + classifier == published


@pytest.mark.parametrize("genotype", [*SOME, DARTS_V2])
def test_an_architecture_and_its_genotype_are_each_other_s(genotype: Genotype) -> None:
    for cells, channels in product(CELLS, CHANNELS):
        architecture = CELL.architecture(genotype, cells=cells, channels=channels, resolution_px=32)
        assert CELL.genotype(architecture) == genotype
        assert architecture.choices[:2] == (cells, channels)


def test_the_space_holds_every_pair_of_cells_at_every_size() -> None:
    one_cell = 7**8 * 1 * 3 * 6 * 10
    assert CELL.size == len(CELLS) * len(CHANNELS) * one_cell**2
    with pytest.raises(BadArchitecture, match="cells is 7; cell has 5, 8, 14, 20"):
        CELL.architecture(DARTS_V2, cells=7, channels=8, resolution_px=32)


@pytest.mark.parametrize(("px", "stride"), [(32, 1), (33, 1), (64, 2), (96, 4), (160, 4), (224, 8), (512, 8)])
def test_the_stem_follows_the_input_size_and_the_maps_follow_the_stem(px: int, stride: int) -> None:
    assert stem_stride(px) == stride
    with torch.device("meta"):
        backbone = CELL.build(CELL.architecture(SOME[0], cells=5, channels=8, resolution_px=px)).eval()
    maps = backbone.features(torch.empty(1, 3, px, px, device="meta"))
    assert [2 ** int(name[1:]) for name in maps] == [stride, 2 * stride, 4 * stride]
    assert [m.shape[1] for m in maps.values()] == [32, 64, 128]


@pytest.mark.parametrize(("cells", "reducing"), [(8, [2, 5]), (20, [6, 13]), (14, [4, 9]), (5, [1, 3])])
def test_reduction_cells_stand_after_a_third_and_two_thirds(cells: int, reducing: list[int]) -> None:
    made = places(cells, 16, 1)
    assert [i for i, place in enumerate(made) if place.role == "reduce"] == reducing
    assert [place.after_reduction for place in made] == [i - 1 in reducing for i in range(cells)]
    assert made[-1].channels == 64


@pytest.mark.parametrize(("op", "stride", "px", "searching"), list(product(PRIMITIVES, (1, 2), (8, 9), (False, True))))
def test_every_operation_keeps_the_channels_and_divides_the_map_by_its_stride(
    op: str, stride: int, px: int, searching: bool
) -> None:
    made = make_op(op, 6, stride, searching=searching)
    x = torch.randn(2, 6, px, px)
    assert made(x).shape == (2, 6, -(-px // stride), -(-px // stride))
    norms = [part for part in made.modules() if isinstance(part, nn.BatchNorm2d)]
    assert all(norm.affine is not searching for norm in norms)
    assert bool(norms) == (
        op != "none" and not (op == "skip_connect" and stride == 1) and (searching or "pool" not in op)
    )
    assert op != "none" or not made(x).any()


def test_an_unknown_operation_is_refused() -> None:
    with pytest.raises(ValueError, match="no operation is called 'conv_7x7'"):
        make_op("conv_7x7", 8, 1)


def test_a_factorized_reduction_is_the_paper_s_and_extends_to_odd_maps() -> None:
    reduce = FactorizedReduce(4, 6).eval()
    for px in (8, 9):
        x = torch.randn(2, 4, px, px)
        positive = x.relu()
        shifted = F.pad(positive[:, :, 1:, 1:], (0, px % 2, 0, px % 2))
        odd = F.conv2d(shifted, reduce.odd.weight, stride=2)
        expected = torch.cat([F.conv2d(positive, reduce.even.weight, stride=2), odd], dim=1)
        torch.testing.assert_close(reduce(x), reduce.norm(expected))


@pytest.mark.parametrize(("kernel", "stride", "px"), list(product((3, 5), (1, 2), (4, 8, 9))))
def test_the_fast_dilated_convolution_is_the_library_s_and_so_are_its_gradients(
    kernel: int, stride: int, px: int
) -> None:
    x = torch.randn(3, 4, px, px, dtype=torch.double).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(4, 1, kernel, kernel, dtype=torch.double, requires_grad=True)
    mine = dilated_conv2d(x, weight, stride)
    theirs = F.conv2d(x, weight, None, stride, 2 * (kernel // 2), 2, 4)
    torch.testing.assert_close(mine, theirs)
    g = torch.randn_like(mine)
    for a, b in zip(*(torch.autograd.grad(y, (x, weight), g) for y in (mine, theirs)), strict=True):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        assert torch.equal(dilated_conv2d(x, weight, stride), theirs)


def test_a_cell_adds_two_operations_a_node_and_concatenates_the_nodes() -> None:
    backbone = network(genotype=DARTS_V2).eval()
    cell = backbone.cells[0]
    s0, s1 = torch.randn(2, 24, 8, 8), torch.randn(2, 24, 8, 8)
    with torch.no_grad():
        a, b = cell.before_last(s0), cell.last(s1)
        n0 = cell.nodes[0][0](a) + cell.nodes[0][1](b)
        n1 = cell.nodes[1][0](a) + cell.nodes[1][1](b)
        n2 = a + cell.nodes[2][1](b)
        n3 = a + cell.nodes[3][1](n0)
        torch.testing.assert_close(cell(s0, s1), torch.cat([n0, n1, n2, n3], dim=1))


@pytest.mark.parametrize("genotype", SOME)
def test_a_derived_network_s_state_loads_and_its_export_computes_the_same(genotype: Genotype) -> None:
    backbone = network(genotype=genotype)
    recalibrate(backbone, [torch.randn(8, 3, 16, 16)])
    again = network(genotype=genotype)
    again.load_state_dict(backbone.state_dict())
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        expected = again.eval()(x)
        assert torch.equal(expected, backbone(x))
    with OnnxRunner(to_onnx_bytes(again, (2, 3, 16, 16)), threads=1) as runner:
        found = runner.run({"input": x.numpy()})["output"]
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_an_identity_costs_no_block_and_a_table_of_all_blocks_knows_every_network() -> None:
    table = made_up_table("cell", 16)
    lean, rich = (
        CELL.architecture(replaced(op), cells=5, channels=8, resolution_px=16)
        for op in ("skip_connect", "sep_conv_5x5")
    )
    assert estimate_ms(table, CELL.ops(lean)) < estimate_ms(table, CELL.ops(rich))
    kinds = {key.kind for key in CELL.ops(lean)}
    assert kinds == {"cell_stem", "relu_conv_norm", "factorized_reduce"}
    assert {key.kind for key in table.entries} == kinds | set(OPS) - {"skip_connect"}


def replaced(op: str) -> Genotype:
    genotype = SOME[0]
    cells = {role: tuple((op, source) for _, source in genotype.slots(role)) for role in ("normal", "reduce")}
    return Genotype(**cells)


def test_one_network_is_a_family_of_its_own() -> None:
    architecture = CELL.architecture(SOME[0], cells=5, channels=8, resolution_px=32)
    fixed = Fixed(CELL, architecture)
    assert fixed.size == 1 and fixed.largest(32) == fixed.smallest(32) == architecture
    assert fixed.random(32, np.random.default_rng(3)) == architecture
    assert sorted(map(str, fixed.ops(architecture))) == sorted(map(str, CELL.ops(architecture)))
    assert fixed.name == "cell" and fixed.decode(fixed.encode([architecture]), 32) == [architecture]
    other = CELL.architecture(SOME[1], cells=5, channels=8, resolution_px=32)
    with pytest.raises(BadArchitecture):
        fixed.build(other)


def test_a_single_network_costs_what_its_family_says() -> None:
    architecture, table = CELL.architecture(SOME[0], cells=5, channels=8, resolution_px=16), made_up_table("cell", 16)
    alone, among = Fixed(CELL, architecture), CELL
    costs = [CostModel(net, table)(net.encode([architecture])) for net in (alone, among)]
    assert vars(costs[0]) == vars(costs[1])


def test_a_single_network_is_not_taken_to_an_input_size_that_asks_for_another_stem() -> None:
    fixed = Fixed(NETS["cell"], CELL.architecture(SOME[0], cells=5, channels=8, resolution_px=32))
    assert fixed.ops(fixed.largest(24))
    with pytest.raises(BadArchitecture, match="is for 32 px, and at 64 px it would have other layers"):
        fixed.build(fixed.largest(64))
