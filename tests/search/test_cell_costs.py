import search.oneshot  # noqa: F401 - first: without it the next import fails, for warnings are errors here
from tests.conftest import refused

# isort: split
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nni.nas.oneshot.pytorch.profiler import ExpectationProfilerPenalty

from hardware_profiles import MissingOp, estimate_ms
from search.cells.derive import cell_costs
from search.errors import WrongTable
from search.nets.cell import CELL
from search.nets.genotype import EDGES, INPUTS, NODES, NONE, ROLES, random_genotype
from search.oneshot.darts.latency import CellProfiler, derived_distribution
from search.oneshot.darts.space import LABELS
from tests.search.small_cells import decided, random_alphas
from tests.search.small_supernets import made_up_table

PX = 33
TABLE = made_up_table("cell", PX)
SIZES = ((5, 8), (8, 16), (20, 36))
COSTS = {size: cell_costs(TABLE, cells=size[0], channels=size[1]) for size in SIZES}
FEW = settings(max_examples=20, deadline=None)


def softmax(alphas: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {role: torch.from_numpy(a).softmax(dim=1) for role, a in alphas.items()}


@pytest.mark.parametrize("size", SIZES)
def test_the_sum_over_edges_is_the_table_s_estimate(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        genotype = random_genotype(rng)
        architecture = CELL.architecture(genotype, cells=size[0], channels=size[1], resolution_px=PX)
        assert COSTS[size].network_ms(genotype) == pytest.approx(estimate_ms(TABLE, CELL.ops(architecture)), abs=1e-6)


@FEW
@given(st.integers(0, 10**6), st.sampled_from(SIZES))
def test_what_is_expected_of_decided_cells_is_the_table_s_estimate(seed: int, size: tuple[int, int]) -> None:
    genotype = random_genotype(np.random.default_rng(seed))
    penalty = ExpectationProfilerPenalty(CellProfiler(COSTS[size]), baseline=1.0)
    expected_ms = float(penalty.profile(derived_distribution(softmax(dict(decided(genotype))))))
    architecture = CELL.architecture(genotype, cells=size[0], channels=size[1], resolution_px=PX)
    assert expected_ms == pytest.approx(estimate_ms(TABLE, CELL.ops(architecture)), abs=1e-6)


@FEW
@given(st.integers(0, 10**6), st.floats(0, 40))
@example(3, 13.0)  # all edges into a node are almost certainly none, and two are kept all the same
def test_every_node_is_expected_to_read_two_nodes_and_probabilities_add_up(seed: int, scale: float) -> None:
    distribution = derived_distribution(softmax(dict(random_alphas(seed, scale))))
    for role in ROLES:
        kept = np.array([1 - float(distribution[label][NONE]) for label in LABELS[role]])
        assert all(-1e-6 <= k <= 1 + 1e-6 for k in kept)
        for node in range(NODES):
            assert sum(kept[e] for e, (to, _) in enumerate(EDGES) if to == node) == pytest.approx(INPUTS, abs=1e-6)
        for label in LABELS[role]:
            assert float(sum(distribution[label].values())) == pytest.approx(1, abs=1e-6)


def test_the_expectation_is_that_of_cells_drawn_edge_by_edge() -> None:
    rng = np.random.default_rng(0)
    size, alphas = SIZES[0], random_alphas(3)
    p = {role: softmax(dict(alphas))[role].numpy() for role in ROLES}
    costs, drawn_ms = COSTS[size], []
    for _ in range(800):
        total = costs.frame_ms
        for role in ROLES:
            for node in range(NODES):
                edges = [e for e, (to, _) in enumerate(EDGES) if to == node]
                used = 1 - p[role][edges, 0]
                for e in rng.choice(edges, INPUTS, replace=False, p=used / used.sum()):
                    ops = p[role][e, 1:] / p[role][e, 1:].sum()
                    total += costs.edges_ms[role][e, 1 + rng.choice(7, p=ops)]
        drawn_ms.append(total)
    penalty = ExpectationProfilerPenalty(CellProfiler(costs), baseline=1.0)
    expected_ms = float(penalty.profile(derived_distribution(softmax(dict(alphas)))))
    assert expected_ms == pytest.approx(np.mean(drawn_ms), abs=5 * np.std(drawn_ms) / len(drawn_ms) ** 0.5)


def test_following_the_gradient_makes_the_expected_network_faster() -> None:
    logits = {role: torch.from_numpy(a).requires_grad_() for role, a in random_alphas(0, 0.001).items()}
    penalty = ExpectationProfilerPenalty(CellProfiler(COSTS[SIZES[0]]), baseline=1.0)
    optimizer = torch.optim.Adam(logits.values(), 0.1)
    times = []
    for _ in range(15):
        expected_ms = penalty.profile(derived_distribution({role: a.softmax(dim=1) for role, a in logits.items()}))
        times.append(float(expected_ms.detach()))
        optimizer.zero_grad()
        expected_ms.backward()
        optimizer.step()
    assert times[-1] < 0.85 * times[0] and all(b < a for a, b in itertools.pairwise(times))


def test_a_table_without_cell_blocks_is_refused_in_one_line() -> None:
    with pytest.raises(WrongTable, match="is of net 'tiny'; measure cell"):
        cell_costs(replace(TABLE, net="tiny"), cells=5, channels=8)
    lacking = {key: latency for key, latency in TABLE.entries.items() if key.kind != "sep_conv_5x5"}
    with refused(MissingOp, match=r"has no time for sep_conv_5x5.*measure it"):
        cell_costs(replace(TABLE, entries=lacking), cells=5, channels=8)
