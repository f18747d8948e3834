import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_tables import FEW, key, table

from hardware_profiles import Latency, MissingOp, block_ms, estimate_ms, part_ms

KEYS = [key(c) for c in (8, 16, 24, 32)]
TIMES = st.lists(st.floats(0, 100), min_size=4, max_size=4)
OPS = st.lists(st.sampled_from(KEYS))


@FEW
@given(TIMES, OPS, OPS, st.floats(0, 5), st.floats(0.1, 3))
def test_an_estimate_is_additive_in_its_blocks(times, first, second, overhead_ms, scale):
    t = table(dict(zip(KEYS, times, strict=True)), overhead_ms=overhead_ms, scale=scale)
    together, apart = estimate_ms(t, first + second), estimate_ms(t, first) + estimate_ms(t, second) - overhead_ms
    assert math.isclose(together, apart, rel_tol=1e-9, abs_tol=1e-9)
    assert math.isclose(together, overhead_ms + block_ms(t, first + second).sum(), rel_tol=1e-12)


@FEW
@given(TIMES, OPS)
def test_a_device_twice_as_slow_has_estimates_twice_as_long(times, ops):
    t = table(dict(zip(KEYS, times, strict=True)), overhead_ms=0.25)
    twice = {op: Latency(median_ms=2 * v.median_ms, p90_ms=2 * v.p90_ms, samples=1) for op, v in t.entries.items()}
    slow = replace(t, entries=twice, overhead_ms=2 * t.overhead_ms)
    assert math.isclose(estimate_ms(slow, ops), 2 * estimate_ms(t, ops), rel_tol=1e-12)


@FEW
@given(TIMES, st.lists(st.lists(OPS, min_size=1, max_size=3), max_size=4), st.data())
def test_indexing_the_costs_of_parts_equals_estimating_each_network(times, parts, data):
    t = table(dict(zip(KEYS, times, strict=True)), overhead_ms=0.5, scale=1.1)
    costs = [part_ms(t, options) for options in parts]
    chosen = np.array([[data.draw(st.integers(0, len(options) - 1)) for options in parts] for _ in range(3)], dtype=int)
    fast = t.overhead_ms + sum((c[chosen[:, i]] for i, c in enumerate(costs)), np.zeros(3))
    slow = [estimate_ms(t, [op for o, i in zip(parts, row, strict=True) for op in o[i]]) for row in chosen]
    np.testing.assert_allclose(fast, slow)


def test_an_option_without_blocks_costs_nothing():
    assert part_ms(table({KEYS[0]: 3.0}), [(), (KEYS[0],)]).tolist() == [0.0, 3.0]


def test_a_block_without_a_time_is_named_with_the_nearest_one_and_the_command():
    t = table({key(16): 1.0, key(64): 2.0, key(20, kind="head"): 3.0})
    for ask in (estimate_ms, block_ms, lambda t, ops: part_ms(t, [ops])):
        with pytest.raises(MissingOp) as error:
            ask(t, [key(16), key(20)])
        assert error.value.op == key(20)
        assert error.value.nearest == key(16)
        for words in (str(key(20)), str(key(16)), "board-t1-fp32", "zoo devices measure --net mobile --resolution 32"):
            assert words in str(error.value)
        assert "\n" not in str(error.value)
