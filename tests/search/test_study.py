"""What a study asks for, what it keeps, and what it makes of its table."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau, pearsonr, spearmanr

from search.nets.handcrafted import MOBILES, RESNETS
from search.study import analysis
from search.study.analysis import BOTH, Study
from search.study.plan import (
    LabelledSet,
    Row,
    family_of,
    gather,
    read_table,
    reason_file,
    spread,
    write_answer,
    write_table,
)

SETS = ("a", "b", "c")


def rows(count: int = 8, seed: int = 0) -> list[Row]:
    """A made-up study: on ``a`` the order of the source, on ``b`` its reverse, on ``c`` none."""
    rng, made = np.random.default_rng(seed), []
    names = [*list(RESNETS.shapes)[:count], *list(MOBILES.shapes)[:count]]
    quality = rng.permutation(len(names)) / (2 * len(names))
    for i, (name, good) in enumerate(zip(names, quality, strict=True)):
        costs = Row(
            variant=name, set="", family=family_of(name), params=1000 + i, early_params=100 + 7 * i % 90, ms=1 + i
        )
        shared = {"classes": 2, "train": 100, "test": 100, "macs": 5, "knn": 0.5}
        values = {"s": good, "a": good + 0.1, "b": 0.9 - good, "c": float(rng.random())}
        for one, value in values.items():
            made.append(replace(costs, set=one, source=one == "s", linear=round(value, 4), **shared))  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize("count", [1, 2, 7, 24, 100, 136, 1000])
def test_a_spread_has_as_many_different_variants_as_there_are_and_half_of_either_family(count: int) -> None:
    names = spread(count, 0)
    assert len(names) == len(set(names)) == min(count, 136)
    families = [family_of(name) for name in names]
    assert families.count(MOBILES.name) == min(count // 2, 42)
    assert spread(count, 0) == names and (count in (1, 2, 136, 1000) or spread(count, 1) != names)


def test_the_first_half_of_a_spread_is_half_of_either_family() -> None:
    families = [family_of(name) for name in spread(24, 5)[:12]]
    assert families.count(RESNETS.name) == 6


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = [*rows(), Row(variant="x,y", set="a", reason="no such variant; nearest: v1, v2")]
    write_table(tmp_path / "table.csv", made)
    assert read_table(tmp_path / "table.csv") == made
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no table of a study"):
        read_table(tmp_path / "other.csv")


def test_the_table_holds_every_answer_and_a_reason_for_each_that_is_missing_in_one_order(tmp_path: Path) -> None:
    answers = [row for row in rows(2) if row.set == "a"]
    for row in reversed(answers):
        write_answer(tmp_path, row)
    failed = reason_file(tmp_path, "v3", "a")
    failed.parent.mkdir(parents=True)
    failed.write_text("the disk was full")
    asked = LabelledSet(name="a", folder="")
    wanted = [(name, asked) for name in ("v9", "v10", "resnet18", "nothing")]
    found = gather(tmp_path, wanted, {("nothing", "a"): "no such variant"})
    assert {(r.variant, r.reason) for r in found if r.reason} == {
        ("v3", "the disk was full"),
        ("v9", "not yet"),
        ("v10", "not yet"),
        ("nothing", "no such variant"),
    }
    assert [r for r in found if not r.reason] == sorted(answers, key=found.index) and len(found) == 8
    names = [r.variant for r in found]
    assert names.index("v9") < names.index("v10")


def test_correlations_are_scipy_s_and_lie_in_their_intervals() -> None:
    study = Study(rows())
    for one in study.agreements():
        names = study.families[one.family]
        x, y = study.reference(names, one.set), study.accuracies(names, one.set)
        for got, theirs in ((one.spearman, spearmanr), (one.kendall, kendalltau), (one.pearson, pearsonr)):
            assert got.value == pytest.approx(theirs(x, y).statistic)
            assert got.low <= got.value + 1e-9 and got.value - 1e-9 <= got.high
    perfect = {one.set: one.spearman.value for one in study.agreements() if one.family == BOTH}
    assert perfect["a"] == pytest.approx(1) and perfect["b"] == pytest.approx(-1) and abs(perfect["c"]) < 0.7


def test_without_a_source_each_set_is_compared_with_the_mean_of_the_others() -> None:
    study = Study([row for row in rows() if not row.source])
    names = study.variants
    others = (study.accuracies(names, "b") + study.accuracies(names, "c")) / 2
    assert np.array_equal(study.reference(names, "a"), others)


def test_a_network_without_all_answers_is_left_out_and_named() -> None:
    made = rows()
    study = Study([replace(made[1], linear=None, reason="killed"), *made[2:], made[0]])
    assert study.left_out == [made[0].variant] and made[0].variant not in study.variants


def test_the_best_of_a_set_is_the_best_and_a_searched_network_rivals_it_only_if_it_is_no_slower() -> None:
    made = rows()
    best = {one: max((row for row in made if row.set == one), key=lambda row: row.linear or 0) for one in SETS}
    ms = min(row.ms or 0 for row in best.values())
    rival = [replace(row, variant="r", family="searched", linear=0.99, ms=ms) for row in made if row.variant == "v1"]
    slow = [replace(row, variant="slow", ms=100.0, linear=1.0) for row in rival]
    for winner in Study([*made, *rival, *slow]).winners():
        assert winner.variant == best[winner.set].variant and winner.searched == "r"
        assert winner.gain is not None and winner.gain.value == pytest.approx(0.99 - winner.accuracy.value)
        assert winner.accuracy.low < winner.accuracy.value < winner.accuracy.high
    place = {winner.set: winner.place_of_source for winner in Study(made).winners()}
    assert place["a"] == 1 and place["b"] == len(made) // 4


def test_an_early_share_that_makes_networks_better_at_equal_size_is_found() -> None:
    rng = np.random.default_rng(0)
    params, early = rng.integers(1000, 2000, 40), rng.random(40)
    good = 0.2 + params / 10_000 + 0.3 * early
    names = list(RESNETS.shapes)[:40]
    costs = [
        Row(variant=n, set="a", family=RESNETS.name, params=int(p), early_params=int(p * e), ms=float(p), knn=0.1)
        for n, p, e in zip(names, params, early, strict=True)
    ]
    (size,) = Study([replace(row, linear=float(g), test=100) for row, g in zip(costs, good, strict=True)]).sizes()
    assert size.early_at_params.low > 0.5 and size.early_at_ms.low > 0.5


def test_networks_that_are_all_alike_have_no_correlation_and_break_nothing() -> None:
    (one, *_) = Study([replace(row, linear=0.5) for row in rows()]).agreements()
    assert math.isnan(one.spearman.value) and math.isnan(one.spearman.low)


def test_more_test_images_make_an_accuracy_s_interval_narrower_and_it_stays_within_0_and_1() -> None:
    for share in (0.0, 0.3, 1.0):
        few, many = analysis._wilson(share, 20), analysis._wilson(share, 2000)
        assert many.high - many.low < few.high - few.low
        assert -1e-9 <= few.low <= share <= few.high <= 1 + 1e-9
