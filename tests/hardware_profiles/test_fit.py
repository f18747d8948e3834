"""A made-up device whose blocks have known times: what a fit must find again."""

import numpy as np
import pytest

from hardware_profiles import BadTimes, OpKey, estimate_ms
from hardware_profiles.fit.fit import fit_table
from hardware_profiles.fit.work import solve_nonnegative, solve_relative
from tests.small_tables import DEVICE, key

STEM = key(4, kind="stem")
LAYERS = [[key(8 * (i + 1), c_in=4 + option, side_px=32 >> i) for option in range(4)] for i in range(4)]
ALL = [op for layer in LAYERS for op in layer]
TRUE_MS = {op: 0.1 * i + 0.05 for i, op in enumerate(ALL)} | {STEM: 0.7}


def networks(count: int, *, seed: int = 0, skip: bool = True) -> list[tuple[OpKey, ...]]:
    """Random ones: a stem, then one block or none from each layer."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        picks = [rng.integers(len(layer) + skip) for layer in LAYERS]
        made.append((STEM, *(layer[i] for layer, i in zip(LAYERS, picks, strict=True) if i < len(layer))))
    return made


def fitted(nets, times_ms, **changes):
    given = {"device": DEVICE, "net": "mobile", "resolution_px": 32, "measured_at": "today"}
    return fit_table(nets, times_ms, **(given | changes))


def true_ms(network, constant_ms: float = 0.3) -> float:
    return constant_ms + sum(TRUE_MS[op] for op in network)


def test_times_that_are_sums_are_predicted_exactly_on_unseen_networks():
    nets = networks(200)
    table = fitted(nets, [true_ms(n) for n in nets])
    assert table.validation.networks == 40
    assert table.validation.mape_percent < 0.01
    for network in networks(20, seed=1):
        assert estimate_ms(table, network) == pytest.approx(true_ms(network), rel=1e-4)


def test_blocks_that_can_be_skipped_get_their_own_times():
    nets = networks(200)
    table = fitted(nets, [true_ms(n) for n in nets])
    for op in ALL:
        assert table.entries[op].median_ms == pytest.approx(TRUE_MS[op], rel=0.01)
    # The stem is in every network: only together with the constant is it known.
    assert table.overhead_ms + table.entries[STEM].median_ms == pytest.approx(1.0, rel=0.01)


def test_no_block_is_negative_and_noise_shows_in_the_validation():
    nets = networks(300)
    noisy = [true_ms(n) * f for n, f in zip(nets, np.random.default_rng(2).normal(1, 0.05, 300), strict=True)]
    table = fitted(nets, noisy)
    assert min(entry.median_ms for entry in table.entries.values()) >= 0 and table.overhead_ms >= 0
    assert 3 < table.validation.mape_percent < 6  # the mean of |N(0, 5 %)| is 4 %


def test_a_layer_that_is_never_skipped_keeps_the_differences_of_its_options():
    nets = networks(300, skip=False)
    table = fitted(nets, [true_ms(n) for n in nets])
    for layer in LAYERS:
        found = np.array([table.entries[op].median_ms for op in layer])
        np.testing.assert_allclose(np.diff(found), np.diff([TRUE_MS[op] for op in layer]), atol=1e-3)


def test_the_source_says_fitted_and_samples_count_the_networks_that_hold_a_block():
    nets = networks(100)
    table = fitted(nets, [true_ms(n) for n in nets])
    assert table.device.source == "fitted"
    assert table.entries[STEM].samples == 80
    assert len(table.checks) == 20


def test_the_same_seed_gives_the_same_table_and_another_one_another_split():
    nets = networks(100)
    times = [true_ms(n) for n in nets]
    assert fitted(nets, times, seed=3) == fitted(nets, times, seed=3)
    assert fitted(nets, times, seed=3).checks != fitted(nets, times, seed=4).checks


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -1.0, 0.0])
def test_a_time_that_no_clock_gives_is_refused(wrong):
    nets = networks(100)
    with pytest.raises(BadTimes, match="above 0"):
        fitted(nets, [wrong, *(true_ms(n) for n in nets[1:])])


def test_too_few_networks_or_a_rare_block_are_refused_with_what_to_do():
    nets = networks(15)
    with pytest.raises(BadTimes, match=r"15 networks are too few to tell \d+ blocks.*zoo devices sample -n \d+"):
        fitted(nets, [true_ms(n) for n in nets])
    rare = key(99)
    nets = [*networks(100), (STEM, rare)]
    with pytest.raises(BadTimes, match=r"8>99 .* time more that hold it"):
        fitted(nets, [1.0] * 101)
    with pytest.raises(BadTimes, match="one each"):
        fitted(nets, [1.0])


def test_least_squares_are_the_plain_ones_where_those_are_positive_and_bounded_where_not():
    rng = np.random.default_rng(0)
    rows, weights = rng.uniform(1, 2, (30, 3)) * [1.0, 1e9, 1e-6], np.array([2.0, 3e-9, 4e6])
    np.testing.assert_allclose(solve_nonnegative(rows, rows @ weights), weights, rtol=1e-6)
    np.testing.assert_allclose(solve_relative(rows, rows @ weights), weights, rtol=1e-6)
    assert (solve_nonnegative(rows, rows @ (weights * [1, -1, 1])) >= 0).all()
    assert solve_nonnegative(np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([1.0, 2.0])).tolist() == [1.0, 0.0]
