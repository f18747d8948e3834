import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.cells.derive import CellCosts, derive, derive_within, probabilities
from search.errors import InfeasibleBudget
from search.nets.genotype import EDGES, INPUTS, NONE, OPS, ROLES, Genotype, random_genotype
from tests.search.small_cells import NAMES, decided, random_alphas

FEW = settings(max_examples=25, deadline=None)


def costs(seed: int, frame_ms: float = 0.5) -> CellCosts:
    rng = np.random.default_rng(seed)
    edges = {role: np.hstack([np.zeros((14, 1)), rng.uniform(0, 1, (14, 7))]) for role in ROLES}
    return CellCosts(frame_ms=frame_ms, edges_ms=edges, cells=5, channels=8, resolution_px=16)


def all_none_but(entries: dict[tuple[int, int], dict[str, float]]) -> np.ndarray:
    """[14, 8] logits, 0 except those given by (node, earlier node) and operation."""
    alphas = np.zeros((14, 8))
    for edge, ops in entries.items():
        for op, value in ops.items():
            alphas[EDGES.index(edge), NAMES.index(op)] = value
    return alphas


def test_each_node_keeps_its_two_edges_with_the_most_probable_operation() -> None:
    alphas = all_none_but(
        {
            (0, 0): {"sep_conv_3x3": 1.0},
            (0, 1): {"skip_connect": 2.0, "dil_conv_5x5": 1.9},
            (1, 0): {"max_pool_3x3": 1.0},
            (1, 1): {"avg_pool_3x3": 3.0},
            (1, 2): {"dil_conv_3x3": 2.0},
            (2, 0): {"sep_conv_5x5": 2.0},
            (2, 3): {"sep_conv_3x3": 1.0},
            (3, 2): {"dil_conv_5x5": 1.0},
            (3, 4): {"max_pool_3x3": 2.0},
        }
    )
    normal = derive({"normal": alphas, "reduce": alphas}).normal
    assert normal == (
        *(("sep_conv_3x3", 0), ("skip_connect", 1)),
        *(("avg_pool_3x3", 1), ("dil_conv_3x3", 2)),
        *(("sep_conv_5x5", 0), ("sep_conv_3x3", 3)),
        *(("dil_conv_5x5", 2), ("max_pool_3x3", 4)),
    )


def test_none_takes_its_share_and_is_never_chosen() -> None:
    alphas = all_none_but({(1, 0): {NONE: 5.0, "sep_conv_3x3": 2.0}, (1, 1): {"sep_conv_5x5": 0.5}})
    alphas[EDGES.index((1, 2)), NAMES.index("max_pool_3x3")] = 0.4
    node = derive({"normal": alphas, "reduce": alphas}).normal[2:4]
    # The highest parameter of all stands beside an even higher none, so its probability is low.
    assert node == (("sep_conv_5x5", 1), ("max_pool_3x3", 2))


def test_edges_are_ranked_by_probability_and_not_by_raw_parameters_as_nni_does() -> None:
    alphas = np.zeros((14, 8))
    alphas[EDGES.index((1, 0))] = 10.0  # every operation alike: probability 1/8 each
    alphas[EDGES.index((1, 0)), NAMES.index("sep_conv_3x3")] = 10.1
    for source in (1, 2):
        alphas[EDGES.index((1, source)), NAMES.index("skip_connect")] = 1.0
    node = derive({"normal": alphas, "reduce": alphas}).normal[2:4]
    assert node == (("skip_connect", 1), ("skip_connect", 2))
    raw = sorted(((alphas[e, 1:].max(), s) for e, (n, s) in enumerate(EDGES) if n == 1), reverse=True)
    assert raw[0][1] == 0


@FEW
@given(st.integers(0, 10**6), st.floats(-50, 50))
def test_a_constant_on_an_edge_changes_nothing(seed: int, shift: float) -> None:
    alphas = random_alphas(seed)
    moved = {role: a + shift * np.arange(14)[:, None] for role, a in alphas.items()}
    assert derive(moved) == derive(alphas)
    assert all(np.allclose(p.sum(axis=1), 1) for p in probabilities(moved).values())


@FEW
@given(st.integers(0, 10**6))
def test_decided_parameters_give_their_genotype(seed: int) -> None:
    genotype = random_genotype(np.random.default_rng(seed))
    assert derive(decided(genotype)) == genotype
    assert derive(decided(genotype, strength=2.5)) == genotype


def all_costs_of_a_node(table: CellCosts, role: str, node: int) -> float:
    best = sorted(table.edges_ms[role][e, 1:].min() for e, (to, _) in enumerate(EDGES) if to == node)
    return float(sum(best[:INPUTS]))


@FEW
@given(st.integers(0, 10**6))
def test_the_fastest_cells_are_the_fastest(seed: int) -> None:
    table = costs(seed)
    least = table.frame_ms + sum(all_costs_of_a_node(table, role, node) for role in ROLES for node in range(4))
    assert table.network_ms(table.fastest) == pytest.approx(least)
    rng = np.random.default_rng(seed)
    assert all(table.network_ms(random_genotype(rng)) >= least - 1e-9 for _ in range(20))


@FEW
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_a_budget_is_kept_at_the_lowest_price_that_keeps_it(seed: int, share: float) -> None:
    table, alphas = costs(seed), random_alphas(seed)
    least, free = table.network_ms(table.fastest), table.network_ms(derive(alphas))
    budget_ms = least + share * (free - least) + 1e-9
    found = derive_within(alphas, table, budget_ms)
    assert table.network_ms(found.genotype) <= budget_ms
    if free <= budget_ms:
        assert found.price == 0 and found.genotype == derive(alphas)
    else:
        assert found.price > 0
        assert table.network_ms(derive(alphas, table, price=0.999 * found.price)) > budget_ms


def test_a_higher_price_never_gives_a_slower_cell() -> None:
    table, alphas = costs(1), random_alphas(1)
    times = [table.network_ms(derive(alphas, table, price=price)) for price in (0, 0.01, 0.1, 0.3, 1, 10, 1000)]
    assert times == sorted(times, reverse=True)
    assert times[-1] == pytest.approx(table.network_ms(table.fastest))


def test_a_budget_below_the_fastest_cells_names_their_time() -> None:
    table = costs(2)
    with pytest.raises(InfeasibleBudget, match=r"no network meets 0.1 ms; the smallest cell at 16 px takes") as caught:
        derive_within(random_alphas(0), table, 0.1)
    assert caught.value.reachable == pytest.approx(table.network_ms(table.fastest))


def test_equal_parameters_are_decided_the_same_way_each_time() -> None:
    alphas = {role: np.zeros((14, 8)) for role in ROLES}
    slots = tuple((OPS[0], source) for _ in range(4) for source in (0, 1))
    assert derive(alphas) == Genotype(normal=slots, reduce=slots)
