import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles import BadOp, Latency, MissingOp, block_ms, estimate_ms, parse_op, part_ms
from hardware_profiles.ops import nearest_op
from tests.conftest import refused
from tests.small_tables import FEW, OP_KEYS, key, table

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


@FEW
@given(OP_KEYS)
def test_a_block_written_as_text_reads_back_as_the_same_block(op):
    assert parse_op(str(op)) == op


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mbconv",
        "mbconv 16>24 k5 s2 e6 g1 @32x32 ",
        "mbconv 16>24 k5 s2 e6 g1 @32x32\n",
        "mbconv 016>24 k5 s2 e6 g1 @32x32",
        "mbconv 0>24 k5 s2 e6 g1 @32x32",
        "mbconv -1>24 k5 s2 e6 g1 @32x32",
        "mbconv 16>24 k5 s2 e6 g1 @32",
        "mbconv \u0661>24 k5 s2 e6 g1 @32x32",
        "mbconv 16>99999999999 k5 s2 e6 g1 @32x32",
        "MB conv 16>24 k5 s2 e6 g1 @32x32",
    ],
)
def test_any_other_text_is_refused_on_one_line(text):
    with refused(BadOp):
        parse_op(text)


@FEW
@given(st.lists(OP_KEYS, min_size=1, max_size=5))
def test_the_nearest_block_to_one_that_is_there_is_that_block(ops):
    assert nearest_op(ops[-1], ops) == ops[-1]


def test_the_nearest_block_is_of_the_same_kind_even_when_another_kind_has_closer_sizes():
    assert nearest_op(key(16), [key(16, kind="stem"), key(512)]) == key(512)
    assert nearest_op(key(16), []) is None
