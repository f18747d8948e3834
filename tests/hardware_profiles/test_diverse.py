import numpy as np
import pytest

from hardware_profiles import pick_diverse

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
