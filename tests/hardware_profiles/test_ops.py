import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_tables import FEW, OP_KEYS, key

from hardware_profiles import BadOp, parse_op
from hardware_profiles.ops import nearest_op


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
    with pytest.raises(BadOp) as error:
        parse_op(text)
    assert "\n" not in str(error.value)


@FEW
@given(st.lists(OP_KEYS, min_size=1, max_size=5))
def test_the_nearest_block_to_one_that_is_there_is_that_block(ops):
    assert nearest_op(ops[-1], ops) == ops[-1]


def test_the_nearest_block_is_of_the_same_kind_even_when_another_kind_has_closer_sizes():
    assert nearest_op(key(16), [key(16, kind="stem"), key(512)]) == key(512)
    assert nearest_op(key(16), []) is None
