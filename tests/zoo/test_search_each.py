"""Requests become jobs; several devices share scores; limits hold beside the budget."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import zoo.make.confirm
from hardware_profiles.errors import UnknownDevice
from hardware_profiles.tables.find import keep_table
from hardware_profiles.types import Latency, LatencyTable
from search.errors import InfeasibleBudget
from search.nets import NETS
from search.subnets.proposals import Goal
from search.types import Budget, SearchResult, Task
from tests.zoo.small_files import run
from zoo.errors import BadRequest, OutputExists
from zoo.make.job import prepare, resolution_for
from zoo.make.search import search, search_each
from zoo.package.card import read_config
from zoo.package.folder import load_package
from zoo.types import no_progress, silent

SIDE_PX = 16


@pytest.fixture
def boards(home: Path, own_table: LatencyTable, short: None) -> tuple[str, str]:
    """Two devices with tables for 16 px, the second three times slower; all searches are short."""
    for name, ms in (("quick", 1.0), ("slow", 3.0)):
        entries = {key: Latency(median_ms=ms, p90_ms=ms, samples=1) for key in own_table.entries}
        device = replace(own_table.device, id=name, source="published")
        keep_table(replace(own_table, device=device, entries=entries), home / "devices")
    return "quick", "slow"


def test_each_device_gets_a_package_a_front_and_its_place_in_the_plot(
    boards: tuple[str, str], image_folder: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    found = search_each(
        image_folder, devices=boards, budgets=["20ms", "60ms"], task="det", out=tmp_path / "out", say=said.append
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["fronts.json", "fronts.png", "quick", "slow"]
    assert found.plot == tmp_path / "out" / "fronts.png" and found.plot.read_bytes().startswith(b"\x89PNG")
    document = json.loads((tmp_path / "out" / "fronts.json").read_text())
    assert document["schema"] == 1 and document["task"] == "det"
    for made, result, shown, limit_ms in zip(found.made, found.results, document["devices"], (20, 60), strict=True):
        card = load_package(made.path, verify=True).card
        assert card.name == f"data-mocov2-det-{limit_ms}ms@{result.device_id}" and card == made.card
        assert all(c.predicted_ms <= limit_ms for c in result.evaluated)
        assert shown["device"] == result.device_id and shown["packaged"] == list(card.architecture.choices)
        assert [c["predicted_ms"] for c in shown["front"]] == [c.predicted_ms for c in result.front]
        assert len(shown["evaluated"]) == len(result.evaluated) and shown["table"] == "published"
    assert sum("networks scored" in line for line in said) == 1


def test_a_search_for_several_devices_is_whole_or_absent(
    boards: tuple[str, str], image_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(InfeasibleBudget, match="meets 15 ms on slow"):
        search_each(image_folder, devices=boards, budgets=["15ms"], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "photo.jpg").touch()
    with pytest.raises(OutputExists, match="not ours"):
        search_each(image_folder, devices=boards, budgets=["50ms"], out=tmp_path / "out", overwrite=True)


@pytest.mark.parametrize(
    ("devices", "budgets", "complaint"),
    [
        (["quick", "quick"], ["9ms"], "name at least one, and each once"),
        (["quick", "slow"], ["9ms", "9ms", "9ms"], "3 budgets for 2 devices"),
        ([], ["9ms"], "name at least one"),
    ],
)
def test_requests_that_do_not_fit_are_refused(
    boards: tuple[str, str],
    image_folder: Path,
    tmp_path: Path,
    devices: list[str],
    budgets: list[str],
    complaint: str,
) -> None:
    with pytest.raises(BadRequest, match=complaint):
        search_each(image_folder, devices=devices, budgets=budgets, out=tmp_path / "out")


def test_limits_hold_beside_the_budget_and_are_in_the_card(
    boards: tuple[str, str], image_folder: Path, tmp_path: Path
) -> None:
    asked: list[Budget] = []
    short = zoo.make.confirm.find_each

    def noted(supernet: object, goals: list[Goal], pixels: object, **options: object) -> tuple[SearchResult, ...]:
        asked.extend(goal.budget for goal in goals)
        return short(supernet, goals, pixels, **options)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo.make.confirm, "find_each", noted)
        limits = Budget(max_params=10**7, max_memory_bytes=10**8)
        made = search(image_folder, device="quick", budget="20ms", out=tmp_path / "out", limits=limits)
    budget = Budget(latency_ms=20, max_params=10**7, max_memory_bytes=10**8)
    assert asked == [budget] and made.card.recipe.limits == budget
    assert made.card.name == "data-mocov2-cls-20ms@quick"
    assert read_config((made.path / "config.json").read_text())[0].recipe.limits == budget
    with pytest.raises(InfeasibleBudget, match="no network meets 10 parameters"):
        search(image_folder, device="quick", budget="20ms", out=tmp_path / "none", limits=Budget(max_params=10))


def test_the_lower_of_two_limits_counts() -> None:
    assert Budget(max_params=3).within(Budget(max_params=5)).max_params == 3
    assert Budget(max_macs=9).within(Budget(max_macs=5)).max_macs == 5
    assert Budget(latency_ms=1).within(Budget(max_params=5)) == Budget(latency_ms=1, max_params=5)
    assert Budget(latency_ms=1).within(None) == Budget(latency_ms=1)


def test_a_name_without_milliseconds_is_searched_and_packaged(
    boards: tuple[str, str], image_folder: Path, tmp_path: Path
) -> None:
    made = search(image_folder, device="quick", budget="20mmacs", out=tmp_path / "out")
    assert made.card.name == "data-mocov2-cls-20mmacs@quick"
    size = search(image_folder, device="quick", budget="3mb", out=tmp_path / "small")
    backbone = load_package(size.path).backbone
    assert 4 * sum(p.numel() for p in backbone.parameters()) <= 3_000_000


def test_dense_tasks_take_twice_the_pixels_only_where_their_times_are_known(
    boards: tuple[str, str], home: Path, own_table: LatencyTable
) -> None:
    def px(task: Task, device: str) -> int:
        return resolution_for(task, device, "mobile", SIDE_PX)

    assert [px(Task.CLS, device) for device in ("this", "quick")] == [16, 16]
    assert px(Task.DET, "this") == px(Task.SEG, own_table.device.id) == 32
    assert px(Task.DET, "quick") == 16
    entries = {key: Latency(median_ms=1, p90_ms=1, samples=1) for key in NETS["mobile"].op_keys(32)}
    device = replace(own_table.device, id="quick")
    keep_table(replace(own_table, device=device, resolution_px=32, entries=entries), home / "devices")
    assert px(Task.SEG, "quick") == 32 and px(Task.SEG, "slow") == 16
    with pytest.raises(UnknownDevice):
        px(Task.DET, "toaster")


def test_supernet_and_images_are_read_once_for_all_devices(boards: tuple[str, str], image_folder: Path) -> None:
    first, second = prepare(
        boards,
        [Budget(latency_ms=50)],
        images=image_folder,
        task=Task.CLS,
        supernet="mobile-mocov2",
        resolution_px=None,
        threads=None,
        seed=3,
        progress=no_progress,
        say=silent,
    )
    assert first.ready is second.ready and first.photos is second.photos and first.seed == second.seed == 3
    assert (first.device.id, second.device.id) == boards and not first.table.here
    assert first.inputs().shape == (64, 3, SIDE_PX, SIDE_PX)


def test_the_command_takes_several_devices_and_limits(
    boards: tuple[str, str], image_folder: Path, tmp_path: Path
) -> None:
    args = ["search", "--images", str(image_folder), "--budget", "50ms", "--device", "quick", "--device", "slow"]
    result = run(*args, "-o", tmp_path / "out", "--max-params", "5m", "--json", "-q")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert [one["card"]["recipe"]["limits"]["max_params"] for one in found["devices"]] == [5_000_000] * 2
    assert [Path(file).name for file in found["files"]] == ["fronts.json", "fronts.png"]
    for more, complaint in ((["--budget", "9ms", "--budget", "9ms"], "3 budgets"), (["--max-macs", "x"], "'x' is not")):
        refused = run(*args, *more, "-o", tmp_path / "x")
        assert refused.exit_code == 2 and complaint in refused.stderr and len(refused.stderr.splitlines()) == 1
