import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import zoo
import zoo.confirm
import zoo.winner
from export.errors import ComparisonFailed
from export.run import export
from export.types import ExportReport
from hardware_profiles.types import Latency
from search.errors import InfeasibleBudget, NotEnoughImages
from search.find import find
from zoo.errors import BudgetMissed, NeedsImages, OutputExists, UnknownName, UnscoredTask
from zoo.make import search
from zoo.package import load_package, read_card


@pytest.fixture(autouse=True)
def short_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six networks instead of 64."""
    monkeypatch.setattr(
        zoo.winner, "find", lambda *args, **kwargs: find(*args, **kwargs, evaluations=6, generations=1, images=64)
    )


def slower(monkeypatch: pytest.MonkeyPatch, factors: list[float]) -> None:
    """Let the clock say ``factor`` x the prediction, one factor a try; the last one stays."""

    def timed(*args: object, **kwargs: object) -> ExportReport:
        report = export(*args, **kwargs)
        factor = factors.pop(0) if len(factors) > 1 else factors[0]
        ms = (report.predicted_ms or 0) * factor
        return replace(report, measured=Latency(median_ms=ms, p90_ms=ms, samples=1))

    monkeypatch.setattr(zoo.confirm, "export", timed)


def test_images_and_a_budget_become_a_verified_package(home: Path, image_folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    stages: set[str] = set()
    made = search(
        image_folder,
        out=tmp_path / "out",
        budget="18ms",
        say=said.append,
        progress=lambda name, done, total: stages.add(name),
    )
    model = load_package(made.path, verify=True)
    assert model.card == made.card == read_card(tmp_path / "out")
    report = made.card.reports[0]
    assert report.measured is not None and report.measured.median_ms <= 18
    assert report.predicted_ms is not None and report.predicted_ms <= 18
    assert report.comparison.passed and report.comparison.images == 64
    assert made.card.images.count == 64 and made.card.recipe.evaluated == 6
    assert made.card.name.startswith("data-mocov2-cls-18ms@")
    assert stages == {"images", "search"} and any("measured" in line for line in said)
    x = model.preprocess([image_folder / "000.png", image_folder / "001.png"])
    assert model(x).shape == (2, 1504) and x.shape == (2, 3, 16, 16)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "images", "out"]


def test_the_same_seed_makes_the_same_network(home: Path, image_folder: Path, tmp_path: Path) -> None:
    cards = [search(image_folder, out=tmp_path / f"{i}", budget="15ms", seed=3).card for i in range(2)]
    assert cards[0].architecture == cards[1].architecture
    weights = [load_package(tmp_path / f"{i}").state_dict() for i in range(2)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_late_winner_gives_way_and_every_try_is_kept(
    home: Path, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slower(monkeypatch, [1.2, 0.8])
    made = search(image_folder, out=tmp_path / "out", budget="20ms")
    tries = made.card.recipe.tries
    assert len(tries) == 2
    assert [t.measured_ms is not None and t.measured_ms <= 20 for t in tries] == [False, True]
    assert tries[-1].architecture == made.card.architecture
    assert "Networks timed before one met the budget" in (made.path / "README.md").read_text()


def test_where_all_are_late_the_failure_names_a_budget_that_would_do(
    home: Path, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slower(monkeypatch, [30.0])
    with pytest.raises(BudgetMissed, match=r"the fastest took \d+ ms"):
        search(image_folder, out=tmp_path / "out", budget="20ms")
    assert not (tmp_path / "out").exists()


def test_an_inexact_artefact_ends_the_job_and_leaves_nothing(
    home: Path, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.run.compare_outputs", lambda *args: replace(compared(*args), passed=False))
    from export.compare import compare_outputs as compared

    with pytest.raises(ComparisonFailed):
        search(image_folder, out=tmp_path / "out", budget="20ms")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "images"]


def test_budgets_of_size_are_kept_too(home: Path, image_folder: Path, tmp_path: Path) -> None:
    made = search(image_folder, out=tmp_path / "out", budget="4mb")
    params = sum(p.numel() for p in load_package(made.path).parameters())
    assert params * 4 <= 4e6 and made.card.name.startswith("data-mocov2-cls-4mb@")


def test_a_budget_that_nothing_meets_is_refused(home: Path, image_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InfeasibleBudget):
        search(image_folder, out=tmp_path / "out", budget="0.5ms")


def test_bad_requests_are_refused_before_any_work(home: Path, image_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputExists):
        search(image_folder, out=image_folder, budget="20ms")
    with pytest.raises(OutputExists, match="not ours"):
        search(image_folder, out=image_folder, budget="20ms", overwrite=True)
    with pytest.raises(UnscoredTask):
        search(image_folder, out=tmp_path / "out", budget="20ms", task="seg")
    with pytest.raises(UnknownName, match="nearest: mobile-mocov2"):
        search(image_folder, out=tmp_path / "out", budget="20ms", supernet="mobile-moco")
    with pytest.raises(NotEnoughImages):
        search(tmp_path / "nowhere", out=tmp_path / "out", budget="20ms")
    with pytest.raises(NeedsImages, match="--images"):
        search(out=tmp_path / "out", budget="20ms")


def test_a_table_of_another_device_is_searched_but_not_timed_here(
    home: Path, image_folder: Path, tmp_path: Path, own_table: zoo.tables.LatencyTable
) -> None:
    from hardware_profiles.devices import keep_table

    other = replace(own_table, device=replace(own_table.device, id="board", chip="A board", kind="edge"))
    keep_table(other, home / "devices")
    made = search(image_folder, out=tmp_path / "out", budget="20ms", device="board")
    assert made.card.name == "data-mocov2-cls-20ms@board"
    assert made.card.reports[0].measured is None
    assert "not measured" in (made.path / "README.md").read_text()
    load_package(made.path, verify=True)
    shutil.rmtree(made.path)
