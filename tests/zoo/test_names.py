from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.types import Budget, Task
from zoo.errors import BadName
from zoo.names import METHODS, OBJECTIVES, Name, format_budget, nearest, parse_budget, parse_name, shown

budgets = st.one_of(
    st.decimals(Decimal("0.000001"), 999_999_999, places=6).map(lambda ms: Budget(latency_ms=float(ms))),
    st.integers(1, 10**15 - 1).map(lambda macs: Budget(max_macs=macs)),
    st.integers(1, 10**14).map(lambda params: Budget(max_params=params)),
)
names = st.builds(
    Name,
    method=st.sampled_from(METHODS),
    objective=st.sampled_from(OBJECTIVES),
    task=st.sampled_from(Task),
    budget=budgets,
    device=st.none() | st.from_regex(r"[a-z0-9](?:[a-z0-9_-]{0,20}[a-z0-9])?", fullmatch=True),
)


@given(names)
def test_a_name_survives_its_text(name: Name) -> None:
    assert parse_name(str(name)) == name
    assert str(parse_name(str(name))) == str(name)


@given(st.text())
def test_any_text_is_a_name_or_one_line_of_complaint(text: str) -> None:
    try:
        assert parse_name(str(parse_name(text))) == parse_name(text)
    except BadName as error:
        assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("3ms", Budget(latency_ms=3)),
        ("0.8ms", Budget(latency_ms=0.8)),
        ("20mmacs", Budget(max_macs=20_000_000)),
        ("1mb", Budget(max_params=250_000)),
    ],
)
def test_budgets_mean_what_the_grammar_says(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget
    assert format_budget(budget) == text


def test_other_spellings_of_a_number_are_the_same_name() -> None:
    assert str(parse_name("data-mocov2-cls-03.50ms@this")) == "data-mocov2-cls-3.5ms@this"


@pytest.mark.parametrize(
    "text", ["0ms", "-1ms", "1e3ms", "nanms", "infms", "ms", "3", "3 ms", "3s", "٣ms", "0.000001mb"]
)
def test_a_budget_that_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(BadName, match="budget"):
        parse_budget(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "..",
        "/etc/passwd",
        "data-mocov2-cls-3ms@../../x",
        "data-mocov2-cls-3ms@",
        "data-mocov2-cls-3ms@a..b",
        "data-mocov2-cls-3ms\0",
        "data-mocov2-cls-3ms@a\nb",
        "data-mocov2-cls-3ms\n",
        "DATA-mocov2-cls-3ms",
        "data-mocov2-cls",
        "a" * 10_000,
        "data-mocov2-cls-" + "9" * 10_000 + "ms",
    ],
)
def test_a_hostile_name_is_refused_in_one_short_line(text: str) -> None:
    with pytest.raises(BadName) as caught:
        parse_name(text)
    message = str(caught.value)
    assert len(message) < 400 and message.isprintable()


def test_a_wrong_part_is_named_with_what_it_may_be_nearest_first() -> None:
    with pytest.raises(BadName, match="objective 'moco' is not one of mocov2, "):
        parse_name("data-moco-cls-3ms")


def test_a_budget_without_a_name_is_refused() -> None:
    for budget in (
        Budget(latency_ms=1, max_params=5),
        Budget(max_memory_bytes=9),
        Budget(latency_ms=1 / 3),
        Budget(latency_ms=1e-9),
    ):
        with pytest.raises(BadName):
            Name(method="data", objective="mocov2", task=Task.CLS, budget=budget)


def test_nearest_gives_three_even_for_nonsense() -> None:
    known = ["alpha", "beta", "gamma", "delta"]
    assert nearest("gama", known)[0] == "gamma"
    assert len(nearest("%%%" * 1000, known)) == 3


def test_shown_text_is_short_and_printable() -> None:
    assert shown("a" * 100) == "'" + "a" * 57 + "...'"
    assert shown("a\x1b[31m\n").isprintable()


@pytest.mark.parametrize(
    ("text", "size_px"),
    [
        ("data-mocov2-det-30ms-320px@galaxy-s24", (320, 320)),
        ("data-mocov2-seg-2ms-320x192px", (320, 192)),
        ("data-mocov2-det-3ms@this", None),
    ],
)
def test_a_name_may_hold_the_input_s_size(text: str, size_px: tuple[int, int] | None) -> None:
    name = parse_name(text)
    assert name.size_px == size_px and str(name) == text


@pytest.mark.parametrize("size", ["0px", "320", "320x0px", "x192px", "-320px", "320x192x3px", "1e2px"])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    with pytest.raises(BadName):
        parse_name(f"data-mocov2-det-3ms-{size}")
