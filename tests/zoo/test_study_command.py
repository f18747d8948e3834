"""``zoo study``: what it refuses, what it goes on with, and the page that is made of its table."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner, Result

from search.study.plan import Job, Outcome, read_table
from search.study.workers import ENGINES
from tests.search.study_workers import answer, write_images, write_set
from zoo.cli.app import program
from zoo.cli.evaluate import Engine
from zoo.use import study as room


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with images and two labelled sets; jobs are done at once, and none is trained."""
    write_images(tmp_path / "images", 4)
    write_set(tmp_path / "a")
    write_set(tmp_path / "b")

    def at_once(jobs: Sequence[Job], workers: int | None) -> Iterator[tuple[Job, tuple[Outcome, ...]]]:
        for job in jobs:
            yield job, answer(job)

    monkeypatch.setattr(room, "ENGINES", {"local": at_once})
    monkeypatch.setattr(room, "find_spec", lambda name: True)
    return tmp_path


def run(place: Path, *more: object, variants: str = "v1,v2", sets: Sequence[str] = ("a", "b")) -> Result:
    chosen = [word for one in sets for word in ("--downstream", str(place / one))]
    command = ["study", "-o", place / "out", "--images", place / "images", "--variants", variants, *chosen, *more]
    return CliRunner().invoke(program(), [str(word) for word in command])


def lines(result: Result) -> str:
    return " ".join(result.output.split())


def test_the_engines_of_the_command_are_those_there_are() -> None:
    assert set(get_args(Engine)) == set(ENGINES)


def test_the_same_command_adds_variants_and_sets_and_an_unknown_one_is_told_while_the_rest_goes_on(place: Path) -> None:
    assert run(place, variants="v1", sets=["a"]).exit_code == 0
    found = run(place, variants="v1, resnet19, v3")
    assert found.exit_code == 1 and "no such variant; nearest: resnet18" in lines(found)
    rows = read_table(place / "out" / "table.csv")
    assert {(row.variant, row.set) for row in rows if not row.reason} == {(v, s) for v in ("v1", "v3") for s in "ab"}
    assert {(row.variant, row.reason.partition(";")[0]) for row in rows if row.reason} == {
        ("resnet19", "no such variant")
    }
    assert run(place, variants="v1,v3").exit_code == 0


def test_a_folder_of_other_numbers_or_of_other_things_is_refused_and_left_as_it_was(place: Path) -> None:
    assert run(place).exit_code == 0
    before = (place / "out" / "study.json").read_text()
    other = run(place, "--seed", 5)
    assert other.exit_code == 2 and "is a study with seed '0', not '5'" in lines(other)
    assert (place / "out" / "study.json").read_text() == before
    (place / "full").mkdir()
    (place / "full" / "thesis.txt").touch()
    assert "no study" in lines(run(place, "-o", place / "full"))
    assert [path.name for path in (place / "full").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--source", "elsewhere/a"), "two labelled sets are called a"),
        (("--objective", "clip"), "objective is 'clip'; it is one of"),
        (("--width-divisor", "3"), "width_divisor is '3'; it is one of 8, 4, 2, 1"),
        (("--variants", ","), "--variants names no network"),
        (("--variants", "0"), "--variants names no network"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(place: Path, more: Sequence[str], told: str) -> None:
    found = run(place, *more)
    assert told in lines(found) and not (place / "out").exists()


def test_failures_are_kept_apart_and_gone_when_they_are_mended(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(jobs: Sequence[Job], workers: int | None) -> Iterator[tuple[Job, tuple[Outcome, ...]]]:
        for job in jobs:
            yield job, tuple(Outcome(set=one.name, told="", reason="the disk is full") for one in job.missing)

    with monkeypatch.context() as patch:
        patch.setattr(room, "ENGINES", {"local": broken})
        found = run(place, variants="v1")
    assert found.exit_code == 1 and "2 missing: the disk is full" in lines(found)
    assert {path.name for path in (place / "out" / "failures" / "v1").iterdir()} == {"a.txt", "b.txt"}
    assert run(place, variants="v2").exit_code == 1  # the table still says what v1 lacks
    assert run(place, variants="v1").exit_code == 0
    assert not list((place / "out" / "failures" / "v1").iterdir())


def test_a_package_that_is_none_is_told_and_the_rest_goes_on(place: Path) -> None:
    found = run(place, "--searched", place / "a", variants="v1", sets=["b"])
    assert found.exit_code == 1 and "is no package" in lines(found)
    assert [row.variant for row in read_table(place / "out" / "table.csv") if not row.reason] == ["v1"]


def test_the_page_is_made_of_the_table_alone_and_says_what_is_missing(place: Path) -> None:
    names = "resnet18,resnet34,resnet50,v1,v23,mobilenetv2,mobilenetv2-1.2x,mobilenetv2-n24433,mobilenetv2-n33544,nope"
    run(place, "--source", write_images(place / "s" / "train" / "k", 1).parent.parent, variants=names)
    table = place / "out" / "table.csv"
    moved = place / "table.csv"
    moved.write_bytes(table.read_bytes())
    for where in (place / "out", moved):
        made = CliRunner().invoke(program(), ["study", "--report", str(where), "-o", str(place / "page")])
        assert made.exit_code == 0, made.output
        page = (place / "page" / "report.md").read_text()
        assert "9 networks on 2 sets" in page and "nope on a: no such variant" in page and "Spearman" in page
        assert {path.name for path in (place / "page").iterdir()} == {"report.md", "source.png", "time.png"}
    assert "no network with all answers" in lines(_report_of(place, ""))
    assert "cannot be read" in lines(_report_of(place, "nothing"))


def _report_of(place: Path, name: str) -> Result:
    empty = place / f"{name or 'empty'}.csv"
    if not name:
        header = (place / "table.csv").read_text().splitlines()[0]
        empty.write_text(f"{header}\nv1,a,x,False" + "," * 9 + ",killed\n")
    return CliRunner().invoke(program(), ["study", "--report", str(empty)])


@pytest.mark.slow
def test_a_study_killed_ten_times_ends_with_the_table_of_one_that_was_not(tmp_path: Path) -> None:
    write_images(tmp_path / "images", 64)
    write_set(tmp_path / "a", classes=3)
    write_set(tmp_path / "b")
    where = f"--images {tmp_path}/images --downstream {tmp_path}/a --downstream {tmp_path}/b --seed 1"
    small = "--resolution 16 --width-divisor 8 --batch 16 --images-seen 256 --variants v1,v4,mobilenetv2,resnet18"
    command = [sys.executable, "-m", "zoo", "study", *where.split(), *small.split(), "-o"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = time.monotonic()
    subprocess.run([*command, str(tmp_path / "once")], check=True, **quiet)  # type: ignore[call-overload]
    whole_s, rng = time.monotonic() - started, random.Random(0)
    kills = 0
    while kills < 10:
        running = subprocess.Popen([*command, str(tmp_path / "often")], **quiet)  # type: ignore[call-overload]
        try:
            running.wait(timeout=rng.uniform(0.1, 0.6) * whole_s)
            for part in ("networks", "answers"):  # done before its time came: there must be something to do
                shutil.rmtree(tmp_path / "often" / part / "v4")
        except subprocess.TimeoutExpired:
            os.kill(running.pid, rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
            running.wait()
            kills += 1
    subprocess.run([*command, str(tmp_path / "often")], check=True, **quiet)  # type: ignore[call-overload]
    tables = [(tmp_path / name / "table.csv").read_bytes() for name in ("once", "often")]
    assert tables[0] == tables[1] and tables[0].count(b"\n") == 9
