import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

import zoo
from hardware_profiles import estimate_ms, keep_table
from hardware_profiles.measure.probe import probe_device
from search.cells.derive import CellCosts, cell_costs, derive
from search.cells.recipe import PRESETS, DartsRecipe
from search.errors import InfeasibleBudget
from search.nets.cell import CELL
from search.nets.genotype import Genotype, Origin, read_genotype, read_origin, write_genotype
from search.supernet import load_supernet, save_supernet
from search.types import Strategy
from tests.search.small_cells import DARTS_V2, random_alphas, single_network
from tests.search.small_supernets import made_up_table
from tests.zoo.small_files import run
from zoo.catalogue.locate import fullest
from zoo.cli.train import Preset
from zoo.devices.tables import own_tables, table_for
from zoo.errors import BadRecipe, BudgetMissed, OutputExists, UnknownName
from zoo.home import zoo_home
from zoo.make.darts import PICTURES, RESULT, darts, read_architecture, recipe_of
from zoo.make.darts_seed import derive_by_clock, time_here_ms
from zoo.names import parse_name
from zoo.plots import plot_cell
from zoo.supernets import supernets_for
from zoo.types import no_progress, silent

PX = 16
SMALL = DartsRecipe(
    epochs=1, batch=8, crop_px=8, cells=3, channels=2, alpha_lr=0.1, projection_dim=8, selection_epochs=1.0, images=64
)
SIZE: dict[str, Any] = {"cells": 5, "channels": 8, "resolution_px": PX}


def small(preset: str, **changes: Any) -> DartsRecipe:
    return replace(SMALL, **{name: value for name, value in changes.items() if value is not None})


@pytest.fixture
def cell_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CellCosts:
    """A cache with this machine's table of cells, far slower than the clock; the costs at the tests' size."""
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    own_tables().mkdir(parents=True)
    made_up = made_up_table("cell", PX, overhead_ms=1.0, scale=20.0)
    table = replace(made_up, device=probe_device(threads=1))
    keep_table(table, own_tables())
    return cell_costs(table, cells=5, channels=8)


def test_a_folder_of_images_becomes_a_package_of_searched_cells_within_the_budget(
    image_folder: Path, tmp_path: Path, cell_home: CellCosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.make.darts.recipe_of", small)
    budget_ms = round(1.1 * cell_home.network_ms(cell_home.fastest), 3)
    out = tmp_path / "out"
    args = ("--images", image_folder, "-o", out, "--seeds", 2, "--budget", f"{budget_ms}ms")
    result = run("darts", *args, "--cells", 5, "--channels", 8, "--resolution", PX)
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [*PICTURES, RESULT, "genotype.json", "package", "seeds"]
    )
    document = json.loads((out / RESULT).read_text())
    losses = {seed["seed"]: seed["held_out_loss"] for seed in document["seeds"]}
    assert set(losses) == {0, 1} and losses[document["chosen"]] == min(losses.values())
    genotype = read_genotype(out / "genotype.json")
    chosen = document["seeds"][document["chosen"]]
    assert chosen["predicted_ms"] == pytest.approx(cell_home.network_ms(genotype)) and chosen["price"] > 0
    assert chosen["predicted_ms"] <= budget_ms and 0 < chosen["measured_ms"] <= budget_ms
    model = zoo.get(out / "package", verify=True)
    assert CELL.genotype(model.architecture) == genotype and model.card.name.startswith("ssnas-simclr-cls-")
    origin = read_origin(out / "genotype.json")
    assert origin is not None and (origin.images, origin.seed) == ("images", document["chosen"])
    readme = (out / "package" / "README.md").read_text()
    assert "](cells.png)" in readme and f"found by darts, seed {origin.seed}" in readme
    assert (out / "package" / "cells.png").read_bytes() == (out / "cell.png").read_bytes()
    assert model.card.reports[0].predicted_ms == pytest.approx(chosen["predicted_ms"], abs=1e-6)
    assert "next:\n  zoo info" in result.stderr and "held-out loss" in result.stdout
    again = run("darts", *args, "--cells", 5, "--channels", 8, "--resolution", PX, "--resume")
    assert again.exit_code == 0 and json.loads((out / RESULT).read_text())["seeds"] == document["seeds"]
    refused = run("darts", *args, "--cells", 5, "--channels", 8, "--resolution", PX)
    assert refused.exit_code == 2 and "--overwrite" in refused.stderr


def test_a_genotype_s_file_trains_one_network_that_a_search_then_packages(
    image_folder: Path, tmp_path: Path, cell_home: CellCosts
) -> None:
    origin = Origin(images="signs", terms="free", strategy="gumbel", epochs=3, seed=7, held_out_loss=2.5)
    write_genotype(DARTS_V2, tmp_path / "g.json", origin)
    out = tmp_path / "net"
    size = ("--cells", 5, "--channels", 8, "--resolution", PX)
    args = ("--images", image_folder, "--net", "cell", "--architecture", tmp_path / "g.json", "-o", out, *size)
    result = run("pretrain", *args, "--epochs", 1, "--batch", 16)
    assert result.exit_code == 0, result.stderr
    card = load_supernet(out).card
    assert card.architecture == CELL.architecture(DARTS_V2, **SIZE).choices and card.objective == "simclr"
    assert card.data["cells"] == "found by gumbel, seed 7, on signs; terms of those images: free"
    assert read_origin(out / "genotype.json") == origin and read_genotype(out / "genotype.json") == DARTS_V2
    found = run(
        "search", "--images", image_folder, "--supernet", out, "--budget", "100000ms", "-o", tmp_path / "package"
    )
    assert found.exit_code == 0, found.stderr
    assert CELL.genotype(zoo.get(tmp_path / "package").architecture) == DARTS_V2


@pytest.mark.parametrize(
    ("args", "code", "complaint"),
    [
        (["--seeds", "0"], 2, "--seeds'"),
        (["--budget", "3parsec"], 2, "budget '3parsec' is not a number above 0"),
        (["--budget", "20mmacs"], 2, "in milliseconds, not 20mmacs; ask for 5ms"),
        (
            ["--budget", "0.001ms", "--cells", "5", "--channels", "8", "--resolution", "16"],
            3,
            "no network meets 0.001 ms",
        ),
        (["--device", "pixel3", "--budget", "5ms"], 1, "pixel3"),
        (["--strategy", "enas"], 2, "'enas' is not one of"),
        (["--cells", "7"], 2, "cells is 7; cell has 5, 8, 14, 20"),
    ],
)
def test_what_cannot_be_searched_is_one_line_and_a_code(
    image_folder: Path, tmp_path: Path, cell_home: CellCosts, args: list[str], code: int, complaint: str
) -> None:
    result = run("darts", "--images", image_folder, "-o", tmp_path / "out", *args)
    assert result.exit_code == code, result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("zoo: ")]
    assert len(lines) == 1 and complaint in lines[0] and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("net", "content", "code", "complaint"),
    [
        ("mobile", "{}", 2, "--architecture is a genotype of cells, and --net is mobile"),
        ("cell", "{}", 1, "is no genotype"),
        ("cell", '{"schema": 1, "space": "nats"}', 1, "space 'nats'"),
        ("cell", None, 2, "share no weights; name the one to train with --architecture"),
    ],
)
def test_an_architecture_that_cannot_be_trained_is_one_line(
    image_folder: Path, tmp_path: Path, net: str, content: str | None, code: int, complaint: str
) -> None:
    args = ["--images", image_folder, "-o", tmp_path / "out", "--net", net]
    if content is not None:
        (tmp_path / "g.json").write_text(content)
        args += ["--architecture", tmp_path / "g.json"]
    result = run("pretrain", *args)
    assert result.exit_code == code, result.stderr
    assert len(result.stderr.splitlines()) == 1 and complaint in result.stderr and not (tmp_path / "out").exists()


def test_a_name_is_answered_by_the_network_of_cells_that_uses_most_of_its_budget(
    tmp_path: Path, cell_home: CellCosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.supernets.BUNDLED", tmp_path / "none")
    with pytest.raises(UnknownName, match=r"ssnas-simclr, and there is none at all; `zoo darts` makes one"):
        zoo.get("ssnas-simclr-cls-1ms@this")
    table, ms = table_for("this", "cell", PX).latencies, {}
    for channels in (8, 16):
        architecture = CELL.architecture(DARTS_V2, cells=5, channels=channels, resolution_px=PX)
        save_supernet(single_network(architecture, f"cell-{channels}"), zoo_home() / "supernets" / f"cell-{channels}")
        ms[f"cell-{channels}"] = estimate_ms(table, CELL.ops(architecture))
    fast, slow = sorted(ms, key=lambda name: ms[name])

    def answer(budget_ms: float) -> str:
        name = parse_name(f"ssnas-simclr-cls-{budget_ms:.3f}ms@this")
        return fullest(name, supernets_for(name), progress=no_progress, say=silent).name

    assert answer(1.01 * ms[slow]) == slow and answer((ms[fast] + ms[slow]) / 2) == answer(0.1 * ms[fast]) == fast
    with pytest.raises(InfeasibleBudget, match=r"no network meets 0\.001 ms"):
        zoo.get("ssnas-simclr-cls-0.001ms@this")
    det = zoo.get(f"ssnas-simclr-det-{1.01 * ms[slow]:.3f}ms@this")
    assert det.architecture.resolution_px == PX and det.card.recipe.supernet == slow


def clock(costs: CellCosts, factor: float) -> Callable[[Genotype], float]:
    return lambda genotype: factor * costs.network_ms(genotype)


def test_cells_that_are_late_on_the_clock_are_derived_again_for_less(cell_home: CellCosts) -> None:
    alphas, lines = random_alphas(0), list[str]()
    free_ms = cell_home.network_ms(derive(alphas))
    kept = derive_by_clock(alphas, cell_home, free_ms, time_ms=clock(cell_home, 0.9), say=lines.append)
    assert kept.price == 0 and kept.measured_ms == pytest.approx(0.9 * free_ms) and len(lines) == 1
    tighter = derive_by_clock(alphas, cell_home, free_ms, time_ms=clock(cell_home, 1.2), say=lines.append)
    assert tighter.price > 0 and tighter.measured_ms is not None and tighter.measured_ms <= free_ms
    assert len(lines) > 2 and "by the paper's rule" in lines[0] and "probability a millisecond" in lines[-1]
    elsewhere = derive_by_clock(alphas, cell_home, free_ms, time_ms=None, say=lines.append)
    assert elsewhere.measured_ms is None and elsewhere.genotype == kept.genotype


def test_a_budget_that_only_the_table_keeps_is_missed_with_all_tries(cell_home: CellCosts) -> None:
    fastest_ms = cell_home.network_ms(cell_home.fastest)
    with pytest.raises(BudgetMissed, match="the fastest took") as caught:
        derive_by_clock(
            random_alphas(0), cell_home, 1.05 * fastest_ms, time_ms=clock(cell_home, 2.0), say=lambda line: None
        )
    assert caught.value.exit_code == 3 and len(caught.value.tries) == 1
    with pytest.raises(InfeasibleBudget):
        derive_by_clock(random_alphas(0), cell_home, 0.5 * fastest_ms, time_ms=None, say=lambda line: None)


def test_a_network_is_timed_here_and_the_table_and_the_estimate_agree_on_what_it_is() -> None:
    architecture = CELL.architecture(DARTS_V2, **SIZE)
    assert time_here_ms(architecture, probe_device(threads=1)) > 0
    assert estimate_ms(made_up_table("cell", PX), CELL.ops(architecture)) > 0


def test_the_commands_choices_are_the_code_s() -> None:
    assert list(get_args(Preset)) == list(PRESETS)
    for strategy in get_args(Strategy):
        assert recipe_of("quick", strategy=strategy, epochs=None, seed=3).seed == 3
    assert recipe_of("quick", strategy="darts", epochs=1, seed=0).warmup_epochs == 0
    with pytest.raises(BadRecipe, match="epochs is 0"):
        recipe_of("quick", strategy="darts", epochs=0, seed=0)


def test_an_earlier_run_is_replaced_or_continued_only_when_told(image_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.jpg").touch()
    for options in ({}, {"overwrite": True}):
        with pytest.raises(OutputExists):
            darts(image_folder, tmp_path / "photos", recipe=SMALL, cells=5, channels=8, **options)
    with pytest.raises(OutputExists, match="give one of them"):
        darts(image_folder, tmp_path / "new", recipe=SMALL, cells=5, channels=8, resume=True, overwrite=True)
    with pytest.raises(BadRecipe, match="0 seeds"):
        darts(image_folder, tmp_path / "new", recipe=SMALL, seeds=0)
    assert (tmp_path / "photos" / "mine.jpg").exists() and not (tmp_path / "new").exists()


def test_the_choices_in_a_genotype_s_file_are_those_of_its_network(tmp_path: Path) -> None:
    write_genotype(DARTS_V2, tmp_path / "g.json")
    found = read_architecture(tmp_path / "g.json", net="cell", cells=8, channels=16, resolution_px=None)
    assert found == CELL.architecture(DARTS_V2, cells=8, channels=16, resolution_px=32).choices


def test_the_picture_is_drawn_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg", "a.png"):
        plot_cell(DARTS_V2, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert b"</svg>" in (tmp_path / "a.svg").read_bytes()
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG" and len(list(tmp_path.iterdir())) == 3
