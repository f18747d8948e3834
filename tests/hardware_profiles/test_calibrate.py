import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles.fit.calibrate import calibrate, validate
from tests.small_tables import FEW

SUMS = np.array([1.0, 2.0, 3.5, 4.0, 5.0, 7.0, 8.0, 9.0])


@FEW
@given(st.floats(0, 10), st.floats(0.1, 10))
def test_an_exact_line_is_found(overhead_ms, scale):
    found = calibrate(SUMS, overhead_ms + scale * SUMS)
    np.testing.assert_allclose(found[0] + found[1] * SUMS, overhead_ms + scale * SUMS, rtol=1e-4, atol=1e-4)


def test_two_disturbed_networks_of_eight_change_nothing():
    times = 0.5 + 1.2 * SUMS
    times[[2, 6]] *= 3
    assert calibrate(SUMS, times) == pytest.approx((0.5, 1.2), rel=1e-6)


def test_an_overhead_is_negative_by_half_of_the_smallest_time_at_most():
    assert calibrate(SUMS, 1.2 * SUMS - 0.3) == pytest.approx((-0.3, 1.2))
    overhead_ms, scale = calibrate(SUMS, 1.2 * SUMS - 1.1)
    assert -0.05 <= overhead_ms <= 0 < scale


@FEW
@given(st.lists(st.floats(0.7, 1.4), min_size=8, max_size=8), st.floats(-0.3, 3), st.floats(0.1, 3))
def test_no_other_line_has_a_smaller_error(factors, overhead_ms, scale):
    times = SUMS * np.array(factors)

    def error(overhead_ms, scale):
        return np.mean(np.abs(overhead_ms + scale * SUMS - times) / times)

    assert error(*calibrate(SUMS, times)) <= error(overhead_ms, scale) + 1e-5 or overhead_ms < -0.5 * times.min()


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_networks_give_a_scale_only(count):
    assert calibrate(SUMS[:count], 1.5 * SUMS[:count]) == (0.0, 1.5)


def test_networks_of_one_size_give_a_scale_only():
    assert calibrate(np.full(5, 2.0), np.full(5, 3.0)) == (0.0, 1.5)


def test_perfect_predictions_have_no_error():
    v = validate(SUMS, SUMS)
    assert (v.networks, v.mape_percent, v.bias_percent, v.kendall_tau) == (8, 0, 0, 1)
    assert (v.within_5_percent, v.within_10_percent) == (100, 100)
    assert v.spearman_rho == 1


def test_errors_are_relative_to_the_measured_times():
    v = validate(np.array([1.04, 1.8, 4.4, 3.6]), np.array([1.0, 2.0, 4.0, 4.0]))
    assert v.mape_percent == pytest.approx(8.5)
    assert v.bias_percent == pytest.approx(-1.5)
    assert v.within_5_percent == 25
    assert v.kendall_tau == pytest.approx(5 / (6 * 5) ** 0.5, abs=1e-4)


def test_of_equal_predictions_the_ranks_say_nothing():
    v = validate(np.full(3, 2.0), np.array([1.0, 2.0, 3.0]))
    assert v.kendall_tau == v.spearman_rho == 0
    assert v.median_percent == pytest.approx(100 / 3, abs=1e-3)
