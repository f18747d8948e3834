import csv
from pathlib import Path

import numpy as np
import pytest

from search.cells.log import Epoch, from_plain, judge, to_plain, write_log
from search.cells.recipe import PRESETS, DartsRecipe, paper, quick, single
from search.nets.cell import CELL
from search.nets.genotype import ROLES, Genotype
from tests.search.small_cells import DARTS_V2, decided, random_alphas, tiny


def epoch(number: int, genotype: Genotype = DARTS_V2) -> Epoch:
    alphas = decided(genotype)
    return Epoch(
        epoch=number,
        lr=0.01,
        loss_weights=3.0,
        loss_alphas=None if number == 0 else 3.5,
        loss_held_out=3.25,
        expected_ms=1.5,
        derived_ms=1.25,
        alphas=tuple(tuple(tuple(row) for row in alphas[role].tolist()) for role in ROLES),
    )


def filled(op: str, count: int) -> Genotype:
    """A normal cell with ``count`` operations of a kind."""
    slots = tuple((op if i < count else "sep_conv_3x3", source) for i, (_, source) in enumerate(DARTS_V2.normal))
    return Genotype(normal=slots, reduce=DARTS_V2.reduce)


GOOD, SKIPS, POOLS = DARTS_V2, filled("skip_connect", 3), filled("avg_pool_3x3", 7)


def judged(*genotypes: Genotype, **changes: int) -> tuple[int, bool, str | None]:
    log = [epoch(i, genotype) for i, genotype in enumerate(genotypes)]
    verdict = judge(log, tiny(epochs=20, patience=2, **changes))
    return verdict.epoch, verdict.stop, verdict.reason


def test_a_healthy_search_gives_its_last_cells() -> None:
    assert judged(GOOD, GOOD, GOOD) == (2, False, None)
    assert judged(SKIPS, SKIPS, SKIPS, SKIPS, GOOD) == (4, False, None)


def test_after_a_collapse_the_last_healthy_cells_are_taken_and_patience_ends() -> None:
    assert judged(GOOD, GOOD, SKIPS) == (
        1,
        False,
        "back to epoch 1: at epoch 2 the normal cell has 3 identities (limit 2)",
    )
    assert judged(GOOD, SKIPS, POOLS) == (
        0,
        True,
        "back to epoch 0: at epoch 2 the normal cell has 7 poolings and identities (limit 6)",
    )


def test_cells_that_never_were_healthy_are_given_with_the_reason_and_without_an_end() -> None:
    assert judged(SKIPS, SKIPS, SKIPS, SKIPS) == (
        3,
        False,
        "collapsed in every epoch: the normal cell has 3 identities (limit 2)",
    )


def test_epochs_that_only_trained_weights_are_no_place_to_go_back_to() -> None:
    assert judged(GOOD, GOOD, SKIPS, SKIPS, SKIPS, warmup_epochs=2)[:2] == (4, False)
    assert judged(GOOD, warmup_epochs=2) == (0, False, None)


def test_the_limits_are_the_recipe_s() -> None:
    assert judged(GOOD, SKIPS, max_skips=3)[2] is None
    assert judged(GOOD, POOLS, max_parameter_free=7)[2] is None


def test_the_log_as_csv_holds_every_number_and_the_cells(tmp_path: Path) -> None:
    write_log([epoch(0), epoch(1, SKIPS)], tmp_path)
    rows = list(csv.DictReader((tmp_path / "search.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["0", "1"] and rows[0]["loss_alphas"] == ""
    assert rows[1]["genotype"] == str(SKIPS) and rows[1]["normal_skips"] == "3"
    alphas = list(csv.DictReader((tmp_path / "alphas.csv").read_text().splitlines()))
    assert len(alphas) == 2 * 2 * 14
    found = [[float(row[op]) for op in list(row)[4:]] for row in alphas if row["epoch"] == "1"]
    np.testing.assert_array_equal(found, np.concatenate([epoch(1, SKIPS).by_role[role] for role in ROLES]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alphas.csv", "search.csv"]


def test_an_epoch_that_was_kept_is_the_same() -> None:
    one = epoch(3)
    assert from_plain(to_plain(one)) == one
    random = Epoch(**{**vars(one), "alphas": tuple(tuple(map(tuple, a.tolist())) for a in random_alphas(1).values())})
    assert from_plain(to_plain(random)).genotype == random.genotype


def test_the_paper_s_preset_is_the_paper_s() -> None:
    r = paper()
    assert (r.epochs, r.batch, r.cells, r.channels, r.clip, r.warmup_epochs) == (50, 64, 8, 16, 5.0, 0)
    assert (r.lr, r.lr_min, r.momentum, r.weight_decay, r.alpha_lr) == (0.025, 0.001, 0.9, 3e-4, 3e-4)
    assert r.lr_at(0) == 0.025 and r.lr_at(1) == pytest.approx(0.001) and r.tau_at(1) == pytest.approx(0.33)
    assert PRESETS == {"quick": quick, "paper": paper} and quick().epochs < 50


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs is 0; it must be at least 1"),
        ({"batch": 1}, "batch is 1"),
        ({"cells": 2}, "cells is 2"),
        ({"strategy": "proxyless"}, "strategy is 'proxyless'; known are darts, gumbel"),
        ({"alpha_lr": float("nan")}, "alpha_lr is nan; it must be a finite number above 0"),
        ({"held_out": 0.5}, "held_out is 0.5"),
        ({"warmup_epochs": 50}, "warmup_epochs is 50 of 50 epochs"),
    ],
)
def test_a_recipe_that_cannot_search_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DartsRecipe(**changes)  # type: ignore[arg-type]


def test_the_recipe_of_one_network_names_its_choices() -> None:
    recipe = single(DARTS_V2, cells=8, channels=16, resolution_px=64, epochs=3, seed=2)
    architecture = CELL.architecture(DARTS_V2, cells=8, channels=16, resolution_px=64)
    assert recipe.architecture == architecture.choices and recipe.objective == "simclr"
    assert recipe.resolution_px == 64 and recipe.hidden_dim == CELL.build(architecture).embedding_dim
