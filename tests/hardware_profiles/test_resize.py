from dataclasses import replace

import numpy as np
import pytest

from hardware_profiles import OpKey, resize_table
from hardware_profiles.fit.work import TERMS, work
from hardware_profiles.tables.resize import fixed_share
from tests.small_tables import VALIDATION, key, table

OPS = [
    OpKey(kind="mbconv", c_in=c, c_out=2 * c, kernel=k, stride=s, expand=e, height_px=512 // c, width_px=512 // c)
    for c in (16, 32, 64)
    for k in (3, 5)
    for e in (1, 6)
    for s in (1, 2)
]


def made(call_ms: float, per_element_ms: float):
    """A device on which a block takes so long for a call and so long for each element of its maps."""
    times = call_ms * work(OPS)[:, 0] + per_element_ms * work(OPS)[:, TERMS.index("elements")]
    return replace(table(dict(zip(OPS, times, strict=True)), validation=VALIDATION, overhead_ms=0.5), resolution_px=32)


@pytest.mark.parametrize("px", [16, 64, 96])
@pytest.mark.parametrize(("call_ms", "per_element_ms"), [(0.0, 1e-5), (0.3, 0.0), (0.1, 1e-5)])
def test_a_call_keeps_its_time_and_work_grows_with_the_pixels(px, call_ms, per_element_ms):
    resized = resize_table(made(call_ms, per_element_ms), px)
    expected = call_ms + per_element_ms * work(resized.entries)[:, TERMS.index("elements")]
    found = [latency.median_ms for latency in resized.entries.values()]
    np.testing.assert_allclose(found, expected, rtol=0.01, atol=1e-5)


def test_the_fixed_share_is_all_for_calls_and_nothing_for_work():
    assert fixed_share(made(0.3, 0.0)) == pytest.approx(1, abs=1e-3)
    assert fixed_share(made(0.0, 1e-5)) == pytest.approx(0, abs=1e-3)


def test_a_resized_table_says_that_it_is_estimated_and_from_where():
    resized = resize_table(made(0.1, 1e-5), 64)
    assert resized.device.source == "estimated" and resized.resolution_px == 64
    assert resized.validation is None and resized.checks == () and resized.scaling.from_px == 32
    assert resized.overhead_ms == 0.5


def test_at_its_own_resolution_a_table_is_left_as_it_is():
    original = made(0.1, 1e-5)
    assert resize_table(original, 32) is original


def test_more_pixels_are_never_faster():
    small, large = resize_table(made(0.1, 1e-5), 48), resize_table(made(0.1, 1e-5), 96)
    pairs = zip(small.entries.values(), large.entries.values(), strict=True)
    assert all(a.median_ms <= b.median_ms for a, b in pairs)


@pytest.mark.parametrize("px", [36, 40, 50, 64])
def test_odd_map_sides_are_rounded_as_strided_convolutions_round_them(px):
    sides = [32, 16, 8, 4]
    expected = [px]
    for _ in sides[1:]:
        expected.append(-(-expected[-1] // 2))
    original = replace(table({key(8 + i, side_px=side): 1.0 for i, side in enumerate(sides)}), resolution_px=32)
    assert [op.height_px for op in resize_table(original, px).entries] == expected
    back = resize_table(replace(resize_table(original, px), scaling=None), 32)
    assert list(back.entries) == list(original.entries)


def test_work_counts_what_an_inverted_residual_does():
    op = OpKey(kind="mbconv", c_in=2, c_out=3, kernel=5, stride=2, expand=4, groups=2, height_px=6, width_px=6)
    calls, elements, depthwise, pointwise = work([op])[0]
    assert calls == 1
    assert elements == 36 * (2 + 8) + 9 * (8 + 3)
    assert depthwise == 9 * 8 * 25
    assert pointwise == (36 * 2 * 8 + 9 * 8 * 3) / 2
