from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zoo.make.confirm
from export.errors import ComparisonFailed
from export.types import ExportReport
from hardware_profiles.errors import UnknownDevice
from hardware_profiles.tables.find import keep_table
from hardware_profiles.types import Latency, LatencyTable
from search.errors import InfeasibleBudget, NotEnoughImages
from search.nets import NETS
from search.subnets.evolution import find_each
from search.subnets.proposals import Goal
from search.types import Architecture, Budget, Candidate, SearchResult
from zoo.catalogue.get import get
from zoo.errors import BudgetMissed, OutputExists, UnknownName
from zoo.make.confirm import next_candidate
from zoo.make.search import search
from zoo.package.card import read_card
from zoo.types import Try

SIDE_PX = 16  # of the supernet


def candidates() -> tuple[Candidate, ...]:
    """Three small networks on a front: 18, 19 and 20 ms by the table."""
    net = NETS["mobile"]
    rows = np.repeat(net.encode([net.smallest(SIDE_PX)]), 3, axis=0)
    rows[1, 0] = rows[2, 1] = 1
    return tuple(
        Candidate(
            architecture=architecture, score=ms / 100, predicted_ms=float(ms), macs=1, params=1, peak_memory_bytes=1
        )
        for ms, architecture in zip((18, 19, 20), net.decode(rows, SIDE_PX), strict=True)
    )


def pretend(monkeypatch: pytest.MonkeyPatch, report: ExportReport, factors: list[float]) -> list[Budget]:
    """Fake searches and clock: the clock says ``factor`` x the prediction, one factor a try, the last one ever after.

    Returns:
        What is searched for, as it happens; a search finds those of ``candidates()`` that use 94-100 % of the budget.
    """
    asked: list[Budget] = []

    def found(supernet: object, goals: list[Goal], pixels: object, **kwargs: object) -> list[SearchResult]:
        budget = goals[0].budget
        asked.append(budget)
        limit_ms = budget.latency_ms or 0
        front = tuple(c for c in candidates() if 0.94 * limit_ms < c.predicted_ms <= limit_ms)
        if not front:
            nearest = candidates()[0].architecture
            raise InfeasibleBudget(asked=1, reachable=18, unit="ms", nearest=nearest)
        return [
            SearchResult(
                best=front[-1],
                front=front,
                evaluated=front,
                criterion="layouts and size",
                seed=0,
                seconds=0.1,
                device_id="x",
            )
        ]

    def timed(*args: object, predicted_ms: float, **kwargs: object) -> ExportReport:
        ms = predicted_ms * (factors.pop(0) if len(factors) > 1 else factors[0])
        return replace(report, predicted_ms=predicted_ms, measured=Latency(median_ms=ms, p90_ms=ms, samples=1))

    monkeypatch.setattr(zoo.make.confirm, "find_each", found)
    monkeypatch.setattr(zoo.make.confirm, "export", timed)
    monkeypatch.setattr(zoo.make.confirm, "time_again", lambda late, images: late)
    return asked


def architectures(*indices: int) -> list[Architecture]:
    return [candidates()[i].architecture for i in indices]


def test_images_and_a_budget_become_a_verified_package(
    home: Path, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short_find(*args: object, **kwargs: object) -> tuple[SearchResult, ...]:
        return find_each(*args, **kwargs, evaluations=4, generations=1, images=32)

    monkeypatch.setattr(zoo.make.confirm, "find_each", short_find)
    said: list[str] = []
    stages: set[str] = set()
    made = search(
        image_folder,
        out=tmp_path / "out",
        budget="12ms",
        say=said.append,
        progress=lambda name, done, total: stages.add(name),
    )
    model = get(made.path, verify=True)
    assert model.card == made.card == read_card(tmp_path / "out")
    report = made.card.reports[0]
    assert report.measured is not None and report.measured.median_ms <= 12
    assert report.predicted_ms is not None and report.predicted_ms <= 12
    assert report.comparison.passed and report.comparison.images == 64
    assert made.card.images.count == 64 and made.card.recipe.evaluated == 4
    assert made.card.name.startswith("data-mocov2-cls-12ms@")
    assert stages == {"images", "search"} and any("measured" in line for line in said)
    x = model.preprocess([image_folder / "000.png", image_folder / "001.png"])
    assert model(x).shape == (2, 1504) and x.shape == (2, 3, SIDE_PX, SIDE_PX)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "images", "out"]


def test_a_winner_that_one_busy_moment_made_late_stays(
    home: Path, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report: ExportReport
) -> None:
    pretend(monkeypatch, report, [2.0])
    quiet = Latency(median_ms=19.5, p90_ms=19.5, samples=1)
    monkeypatch.setattr(zoo.make.confirm, "time_again", lambda late, images: replace(late, measured=quiet))
    made = search(image_folder, out=tmp_path / "out", budget="20ms")
    assert [t.measured_ms for t in made.card.recipe.tries] == [19.5]
    assert made.card.architecture == candidates()[2].architecture


def test_a_late_winner_gives_way_and_every_try_is_kept(
    home: Path, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report: ExportReport
) -> None:
    asked = pretend(monkeypatch, report, [1.02, 1.0])
    made = search(image_folder, out=tmp_path / "out", budget="20ms")
    tries = made.card.recipe.tries
    assert [t.architecture for t in tries] == architectures(2, 1) and made.card.architecture == tries[-1].architecture
    assert [t.measured_ms for t in tries] == [pytest.approx(20.4), 19]
    assert asked == [Budget(latency_ms=20)]
    assert "Networks timed before one met the budget" in (made.path / "README.md").read_text()


def test_where_a_whole_front_is_late_a_second_search_allows_for_it(
    home: Path, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report: ExportReport
) -> None:
    asked = pretend(monkeypatch, report, [1.08])
    made = search(image_folder, out=tmp_path / "out", budget="20ms")
    assert [t.architecture for t in made.card.recipe.tries] == architectures(2, 1, 0)
    assert [budget.latency_ms for budget in asked] == [20, pytest.approx(20 / 1.08)]


def test_where_all_are_late_the_failure_names_a_budget_that_would_do(
    home: Path, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report: ExportReport
) -> None:
    pretend(monkeypatch, report, [30.0])
    with pytest.raises(BudgetMissed, match="the fastest took 570 ms: ask for at least that") as caught:
        search(image_folder, out=tmp_path / "out", budget="20ms")
    assert [t.architecture for t in caught.value.tries] == architectures(2, 1)
    assert not (tmp_path / "out").exists()


def test_an_inexact_artefact_ends_the_job_and_leaves_nothing(
    home: Path, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report: ExportReport
) -> None:
    pretend(monkeypatch, report, [1.0])

    def inexact(*args: object, **kwargs: object) -> ExportReport:
        raise ComparisonFailed(report)

    monkeypatch.setattr(zoo.make.confirm, "export", inexact)
    with pytest.raises(ComparisonFailed):
        search(image_folder, out=tmp_path / "out", budget="20ms")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "images"]


def test_bad_requests_are_refused_before_any_work(home: Path, image_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(OutputExists):
        search(image_folder, out=image_folder, budget="20ms")
    with pytest.raises(OutputExists, match="not ours"):
        search(image_folder, out=image_folder, budget="20ms", overwrite=True)
    with pytest.raises(ValueError, match="'fly' is not a valid Task"):
        search(image_folder, out=out, budget="20ms", task="fly")
    with pytest.raises(UnknownDevice, match="nearest: "):
        search(image_folder, out=out, budget="20ms", device="rasp")
    with pytest.raises(UnknownName, match="nearest: mobile-mocov2"):
        search(image_folder, out=out, budget="20ms", supernet="mobile-moco")
    with pytest.raises(NotEnoughImages):
        search(tmp_path / "nowhere", out=out, budget="20ms")
    assert not out.exists()


def test_a_table_of_another_device_is_searched_but_nothing_is_timed(
    home: Path,
    image_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    report: ExportReport,
    own_table: LatencyTable,
) -> None:
    pretend(monkeypatch, report, [1.0])
    timed: list[object] = []

    def untimed(*args: object, time: bool, device: str, **kwargs: object) -> ExportReport:
        timed.append((time, device))
        return replace(report, measured=None, device=device)

    monkeypatch.setattr(zoo.make.confirm, "export", untimed)
    keep_table(replace(own_table, device=replace(own_table.device, id="board", chip="A board")), home / "devices")
    made = search(image_folder, out=tmp_path / "out", budget="20ms", device="board")
    assert made.card.name == "data-mocov2-cls-20ms@board" and timed == [(False, "board")]
    assert "not measured" in (made.path / "README.md").read_text()


ARCHITECTURE = Architecture(net="mobile", choices=(), resolution_px=32)


def candidate(score: float, predicted_ms: float) -> Candidate:
    return Candidate(
        architecture=ARCHITECTURE, score=score, predicted_ms=predicted_ms, macs=1, params=1, peak_memory_bytes=1
    )


def tried(predicted_ms: float, measured_ms: float) -> Try:
    return Try(architecture=ARCHITECTURE, score=0, predicted_ms=predicted_ms, measured_ms=measured_ms)


FRONT = (candidate(0.5, 0.5), candidate(0.6, 0.8), candidate(0.7, 0.93), candidate(0.8, 0.98))


def test_the_next_is_the_best_that_fits_once_corrected() -> None:
    assert next_candidate(FRONT, [tried(0.98, 1.03)], 1.0) == candidate(0.7, 0.93)
    assert next_candidate(FRONT, [tried(0.98, 1.10)], 1.0) == candidate(0.6, 0.8)


def test_where_none_fits_the_fastest_is_next() -> None:
    assert next_candidate(FRONT, [tried(0.98, 9.8)], 1.0) == candidate(0.5, 0.5)


def test_where_none_is_faster_there_is_none() -> None:
    assert next_candidate(FRONT, [tried(0.98, 1.1), tried(0.5, 1.1)], 1.0) is None
    assert next_candidate((), [tried(1.0, 2.0)], 1.0) is None


times = st.floats(0.01, 10)


@given(
    st.lists(st.builds(candidate, st.floats(0, 1), times), max_size=8),
    st.lists(st.builds(tried, times, times), min_size=1),
)
def test_every_next_try_is_predicted_faster_than_all_before(front: list[Candidate], tries: list[Try]) -> None:
    found = next_candidate(front, tries, 1.0)
    faster = [c for c in front if all(c.predicted_ms < t.predicted_ms for t in tries)]
    assert (found in faster) if faster else (found is None)
