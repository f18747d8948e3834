"""Advice is tested by following it."""

import math
import re
from collections.abc import Callable
from dataclasses import fields, replace
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
from search.types import Architecture, Budget
from tests.zoo.small_files import DEVICE, SIDE_PX, made_up_table
from zoo.devices.public import _number
from zoo.devices.times import _latency_ms
from zoo.errors import BudgetMissed
from zoo.make.pretrain import train
from zoo.names import parse_amount, parse_budget, parse_bytes
from zoo.types import Try

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


def test_a_megabyte_is_the_same_number_of_parameters_as_a_budget_and_as_a_limit() -> None:
    assert parse_budget("2mb").max_params == parse_amount("2mb") == 500_000


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
    lambda: _latency_ms("inf", "times.csv, line 2"),
    lambda: _number("1e999", "latency_ms", Path("times.csv"), 2),
]


@pytest.mark.parametrize("refused", NUMBERS)
def test_infinity_is_never_told_that_it_must_be_more(refused: Callable[[], Any]) -> None:
    with pytest.raises(Exception, match=r"finite|0\.\.1|below|at most") as caught:
        refused()
    assert "\n" not in str(caught.value)
