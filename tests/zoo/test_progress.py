"""Whoever waits is told: bars on a terminal, lines that come ever more rarely where nobody watches."""

import inspect
import sys

import pytest

import zoo
from zoo.progress import Bars, Lines, watching
from zoo.types import no_progress

SLOW = (
    "benchmark",
    "darts",
    "evaluate",
    "export",
    "finetune",
    "get",
    "predict",
    "pretrain",
    "pull",
    "search",
)


def test_every_function_that_takes_long_says_how_far_it_is_unless_it_is_told_not_to() -> None:
    for name in SLOW:
        assert inspect.signature(getattr(zoo, name)).parameters["progress"].default == "auto", name
    assert inspect.signature(zoo.devices.measure).parameters["progress"].default == "auto"


def test_lines_come_after_two_seconds_and_then_whenever_the_wait_has_doubled() -> None:
    now = 0.0
    said: list[str] = []
    lines = Lines(said.append, clock=lambda: now)
    for second in range(1, 40):
        now = float(second)
        lines("search", second, 40)
    assert said == [f"search: {second} of 40 after {second} s" for second in (2, 4, 8, 16, 32)]


def test_a_stage_whose_end_moves_is_one_stage() -> None:
    now = 0.0
    said: list[str] = []
    lines = Lines(said.append, clock=lambda: now)
    for second in range(1, 20):
        now = float(second)
        lines("train", second, 100 + second)
    assert said == [f"train: {second} of {100 + second} after {second} s" for second in (2, 4, 8, 16)]


def test_a_quick_stage_says_nothing_and_the_next_one_counts_from_its_own_beginning() -> None:
    now = 0.0
    said: list[str] = []
    lines = Lines(said.append, clock=lambda: now)
    now = 1.0
    lines("images", 9, 9)
    now = 2.5
    lines("search", 1, 9)
    assert said == []
    now = 3.5
    lines("search", 2, 9)
    lines("search", 9, 9)
    now = 4.0
    lines("search", 1, 9)  # the same again
    assert said == ["search: 2 of 9 after 2 s"]


def test_bars_leave_nothing_behind(capsys: pytest.CaptureFixture[str]) -> None:
    bars = Bars()
    for done in (1, 3, 2, 5):
        bars("search", done, 5)
    bars("time", 1, 2)
    bars("images", 3, 3)
    assert list(bars._bars) == ["time"]
    bars.close()
    assert not bars._bars and "search" in capsys.readouterr().err


def test_auto_is_bars_on_a_terminal_and_lines_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(watching("auto"), Lines)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert isinstance(watching("auto"), Bars)
    assert watching(None) is no_progress and watching(no_progress) is no_progress
