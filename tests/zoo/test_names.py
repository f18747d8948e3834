import math
import re
from collections.abc import Callable
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import zoo.make.finetune
from search.cells.recipe import DartsRecipe
from search.errors import InfeasibleBudget
from search.nets import NETS
from search.recipes import Recipe
from search.subnets.costs import CostModel
from search.types import Architecture, Budget, Task
from tests.zoo.small_files import DEVICE, SIDE_PX, made_up_table
from zoo.devices.times import above_zero
from zoo.errors import BadName, BudgetMissed
from zoo.make.pretrain import train
from zoo.names import (
    METHODS,
    OBJECTIVES,
    Name,
    format_budget,
    nearest,
    parse_amount,
    parse_budget,
    parse_bytes,
    parse_name,
    shown,
)
from zoo.types import Try

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


SMALLEST = NETS["mobile"].smallest(SIDE_PX)


def advice(reachable: float, unit: str) -> str:
    error = InfeasibleBudget(asked=1e-9, reachable=reachable, unit=unit, nearest=SMALLEST)
    found = re.search(r"takes (.+): ask for at least that", str(error))
    assert found is not None
    return found[1]


@given(st.floats(1e-5, 1e7))
def test_a_budget_of_milliseconds_as_advised_is_met(reachable_ms: float) -> None:
    said = parse_budget(advice(reachable_ms, "ms").replace(" ", "")).latency_ms
    assert said is not None and reachable_ms <= said <= reachable_ms * 1.02 + 2e-6


@given(st.integers(1, 10**14))
def test_a_budget_of_multiply_accumulates_as_advised_is_met(reachable: int) -> None:
    said = parse_budget(advice(float(reachable), "MACs").replace(" ", "")).max_macs
    assert said is not None and reachable <= said <= reachable + 20_000


@given(st.integers(1, 10**10))
def test_limits_of_parameters_and_memory_as_advised_are_met(reachable: int) -> None:
    found = re.fullmatch(r"(\d+k) parameters \(([\d.]+) mb\)", advice(float(reachable), "parameters"))
    assert found is not None
    assert reachable <= parse_amount(found[1]) < reachable + 1000
    assert reachable <= (parse_budget(f"{found[2]}mb").max_params or 0) < reachable + 5000
    assert reachable <= parse_amount(f"{found[2]}mb") < reachable + 5000
    assert parse_bytes(advice(float(reachable), "bytes").removesuffix(" bytes") + "b") >= reachable


@given(st.floats(1e-3, 1e5))
def test_what_the_clock_could_not_confirm_names_a_budget_that_it_would(fastest_ms: float) -> None:
    tries = [Try(architecture=SMALLEST, score=0.5, predicted_ms=1.0, measured_ms=fastest_ms)]
    found = re.search(r"the fastest took ([\d.]+) ms", str(BudgetMissed(device_id="x", limit_ms=1e-4, tries=tries)))
    assert found is not None and float(found[1]) >= fastest_ms


def test_no_other_network_costs_more_than_the_one_called_largest() -> None:
    net = NETS["mobile"]
    model = CostModel(net, made_up_table(DEVICE))
    most = model(net.encode([net.largest(SIDE_PX)]))
    options = [choice.options for choice in net.space]
    for seed in range(50):
        choices = tuple(option[(seed * 7 + i) % len(option)] for i, option in enumerate(options))
        costs = model(net.encode([Architecture(net="mobile", choices=choices, resolution_px=SIDE_PX)]))
        assert costs.params[0] <= most.params[0] and costs.macs[0] <= most.macs[0]


RECIPES = (Recipe(), DartsRecipe(), zoo.make.finetune.Recipe(max_minutes=1.0))
NUMBERS: list[Callable[[], object]] = [
    *(
        lambda recipe=recipe, name=field.name: replace(recipe, **{name: math.inf})
        for recipe in RECIPES
        for field in fields(recipe)
        if isinstance(getattr(recipe, field.name), float)
    ),
    lambda: train(Recipe(), Path(), Path("out"), terms="mine", max_minutes=math.inf),
    lambda: Budget(latency_ms=math.inf),
    *(lambda text=text: above_zero(text, "latency_ms", "times.csv, line 2") for text in ("inf", "1e999")),
]


@pytest.mark.parametrize("refused", NUMBERS)
def test_infinity_is_never_told_that_it_must_be_more(refused: Callable[[], Any]) -> None:
    with pytest.raises(Exception, match=r"finite|0\.\.1|below|at most") as caught:
        refused()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "amount"), [("500k", 500_000), ("20M", 20_000_000), ("2000", 2000)])
def test_amounts_are_read_as_people_write_them(text: str, amount: int) -> None:
    assert parse_amount(text) == amount


def test_megabytes_mean_the_same_in_a_budget_and_in_a_limit() -> None:
    assert parse_amount("2mb") == parse_budget("2mb").max_params == 500_000
    assert parse_bytes("2mb") == 2_000_000


@pytest.mark.parametrize("text", ["", "0", "-1k", "1e6", "k", "3 mb", "0.1", "1tb"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(BadName, match="is not an amount above 0"):
        parse_amount(text)
