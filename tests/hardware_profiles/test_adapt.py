from dataclasses import replace

import numpy as np
import pytest

from hardware_profiles import BadTimes, MissingOp, adapt_table, estimate_ms, pick_diverse
from tests.small_tables import DEVICE, key, table

OPS = [key(8 * (i + 1), side_px=side) for i in range(4) for side in (8, 16)]


def known(name: str, times_ms, *, overhead_ms: float = 0.0, scale: float = 1.0):
    made = table(dict(zip(OPS, times_ms, strict=True)), overhead_ms=overhead_ms, scale=scale)
    return replace(made, device=replace(DEVICE, id=name))


RNG = np.random.default_rng(0)
A = known("a", RNG.uniform(1, 3, 8), overhead_ms=0.5)
B = known("b", RNG.uniform(1, 3, 8), scale=2.0)
C = known("c", RNG.uniform(1, 3, 8))
NETWORKS = [tuple(op for op in OPS if RNG.random() < 0.5) or (OPS[0],) for _ in range(40)]


def adapted(tables, networks, times_ms):
    return adapt_table(tables, networks, times_ms, device=replace(DEVICE, id="new"), measured_at="today")


def truth(network) -> float:
    return 0.2 + 0.7 * estimate_ms(A, network) + 0.4 * estimate_ms(B, network)


def test_a_mixture_of_known_devices_is_found_from_ten_networks():
    new = adapted([A, B, C], NETWORKS[:10], [truth(n) for n in NETWORKS[:10]])
    for network in NETWORKS[10:]:
        assert estimate_ms(new, network) == pytest.approx(truth(network), rel=1e-3)
    assert new.validation.networks == 10 and new.validation.mape_percent < 0.5
    assert "x a" in new.device.reference and "10 networks timed" in new.device.reference


def test_a_known_device_at_another_speed_is_that_device_scaled():
    new = adapted([A, B, C], NETWORKS[:10], [3 * estimate_ms(C, n) for n in NETWORKS[:10]])
    for op in OPS:
        assert new.entries[op].median_ms == pytest.approx(3 * C.entries[op].median_ms, rel=0.01)


def test_the_error_is_that_of_networks_the_mixture_has_not_seen():
    noise = np.random.default_rng(1).normal(1, 0.1, 12)
    times = [truth(n) * f for n, f in zip(NETWORKS[:12], noise, strict=True)]
    new = adapted([A, B, C], NETWORKS[:12], times)
    seen = np.mean([abs(estimate_ms(new, n) / t - 1) for n, t in zip(NETWORKS[:12], times, strict=True)])
    assert new.validation.mape_percent > 100 * seen
    assert [check.measured_ms for check in new.checks] == pytest.approx(times, abs=1e-4)


def test_it_is_called_an_estimate_and_holds_no_negative_time():
    times = list(np.random.default_rng(2).uniform(1, 9, 10))
    new = adapted([A, B, C], NETWORKS[:10], times)
    assert new.device.source == "estimated" and new.device.id == "new"
    assert min(entry.median_ms for entry in new.entries.values()) >= 0


def test_blocks_that_only_some_known_devices_have_are_left_out():
    fewer = replace(B, entries={op: latency for op, latency in B.entries.items() if op != OPS[-1]})
    nets = [network for network in NETWORKS if OPS[-1] not in network][:10]
    assert OPS[-1] not in adapted([A, fewer], nets, [truth(n) for n in nets]).entries
    with pytest.raises(MissingOp, match="b has no time"):
        adapted([A, fewer], [(OPS[-1],)] * 5, [1.0] * 5)


def test_what_cannot_be_adapted_is_refused_with_what_to_do():
    with pytest.raises(BadTimes, match=r"4 networks are too few .* zoo devices sample"):
        adapted([A], NETWORKS[:4], [1.0] * 4)
    with pytest.raises(BadTimes, match="of mobile at 32 px, mobile at 64 px"):
        adapted([A, replace(B, resolution_px=64)], NETWORKS[:5], [1.0] * 5)
    with pytest.raises(BadTimes, match="none"):
        adapted([], NETWORKS[:5], [1.0] * 5)
    with pytest.raises(BadTimes, match="nan"):
        adapted([A], NETWORKS[:5], [1.0, 1.0, float("nan"), 1.0, 1.0])


FEATURES = np.random.default_rng(0).normal(size=(200, 5)) * [1, 10, 0.1, 1, 1]


def log_determinant(rows) -> float:
    standard = (FEATURES - FEATURES.mean(axis=0)) / FEATURES.std(axis=0)
    chosen = np.insert(standard[rows], 0, 1.0, axis=1)
    return float(np.linalg.slogdet(chosen.T @ chosen + 0.01 * np.eye(chosen.shape[1]))[1])


def test_picked_rows_tell_more_than_any_of_fifty_random_picks():
    picked = log_determinant(pick_diverse(FEATURES, 10))
    rng = np.random.default_rng(1)
    assert picked > max(log_determinant(rng.choice(200, 10, replace=False)) for _ in range(50))


def test_rows_are_different_and_the_same_each_time():
    picked = pick_diverse(FEATURES, 30)
    assert len(set(picked)) == 30 and picked == pick_diverse(FEATURES, 30)


def test_each_row_is_the_one_that_is_least_certain_given_those_before():
    picked = pick_diverse(FEATURES, 6)
    best = max(set(range(200)) - set(picked[:5]), key=lambda row: log_determinant([*picked[:5], row]))
    assert picked[5] == best


def test_units_do_not_matter_and_constant_features_say_nothing():
    assert pick_diverse(FEATURES * [7, 1, 100, 1, 1], 10) == pick_diverse(FEATURES, 10)
    assert pick_diverse(np.column_stack([FEATURES, np.ones(200)]), 10) == pick_diverse(FEATURES, 10)


def test_more_rows_than_there_are_cannot_be_picked():
    assert sorted(pick_diverse(FEATURES[:4], 4)) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="5 of 4"):
        pick_diverse(FEATURES[:4], 5)
