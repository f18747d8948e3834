"""Laws of the accuracy table: it finds what was planted, says the same when read again, and refuses what is not its."""

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.errors import BadSupernet
from search.nets import NETS, Net
from search.scores.accuracy import ACCURACY, fit_points, load_accuracy, save_accuracy
from search.subnets.proposals import scattered
from search.supernet import WEIGHTS, Supernet, load_supernet, save_supernet
from tests.search.small_supernets import SHA256, accuracy_of, random_supernet


@pytest.fixture
def net() -> Net:
    return NETS["resnet"]


def drawn(net: Net, count: int, seed: int = 0) -> np.ndarray:
    rows = scattered(net, np.random.default_rng(seed))
    return rows[np.random.default_rng(seed).permutation(len(rows))[:count]]


def planted(net: Net, rows: np.ndarray) -> np.ndarray:
    """Width counts, the last one most; depth does not."""
    widths = [[values[name] for name in values if "width" in name] for values in map(net.values, net.decode(rows, 32))]
    return np.log(np.array(widths, dtype=float)) @ np.linspace(1, 3, len(widths[0]))


def test_what_was_planted_is_found_on_other_networks_through_noise_and_sets_of_any_level_and_spread(net: Net) -> None:
    rows, others = drawn(net, 48), drawn(net, 200, seed=1)
    truth, rng = planted(net, rows), np.random.default_rng(2)
    sets = np.stack([50 + 4 * truth, 80 + 0.5 * truth, 20 + truth])
    points = fit_points(net, rows, sets + sets.std(1, keepdims=True) * rng.normal(scale=0.3, size=sets.shape))
    found = replace(accuracy_of(net).at(64), points=points)(others)
    assert np.corrcoef(found, planted(net, others))[0, 1] > 0.95
    assert all(of[0] == 0 for of in points.values()) and [*points] == [choice.name for choice in net.space]


def test_neither_the_level_of_a_set_nor_the_order_of_networks_changes_the_points(net: Net) -> None:
    rows = drawn(net, 32)
    sets = np.stack([planted(net, rows), np.random.default_rng(3).normal(size=32)])
    points, turned = fit_points(net, rows, sets), np.arange(32)[::-1]
    raised = fit_points(net, rows[turned], (sets + np.array([[7.0], [-3.0]]))[:, turned])
    assert all(raised[name] == pytest.approx(of, abs=1e-9) for name, of in points.items())


def test_a_choice_that_never_varied_adds_nothing(net: Net) -> None:
    rows = drawn(net, 32)
    rows[:, 0] = 1
    points = fit_points(net, rows, planted(net, rows)[None])
    assert not any(points[net.space[0].name]) and any(points["stage3.width"])


def test_too_few_networks_and_accuracies_of_others_are_refused(net: Net) -> None:
    for rows, count in ((drawn(net, 2), 2), (drawn(net, 8), 7)):
        with pytest.raises(ValueError, match="at least 3"):
            fit_points(net, rows, np.ones((2, count)))


def test_the_points_of_a_network_are_the_sum_over_its_choices(net: Net) -> None:
    table, rows = accuracy_of(net).at(64), drawn(net, 20)
    one_by_one = [sum(table.points[c.name][i] for c, i in zip(net.space, row, strict=True)) for row in rows]
    assert table(rows) == pytest.approx(one_by_one) and table(rows[:0]).shape == (0,)


def test_the_points_of_the_nearest_size_speak(net: Net) -> None:
    (one,) = accuracy_of(net).learned
    table = replace(accuracy_of(net), learned=(one, replace(one, resolution_px=256)))
    assert [table.at(px).resolution_px for px in (16, 100, 127, 129, 1000)] == [64, 64, 64, 256, 256]


def test_what_was_saved_loads_back_equal(net: Net, tmp_path: Path) -> None:
    table = accuracy_of(net)
    save_accuracy(table, tmp_path)
    assert load_accuracy(tmp_path, net, SHA256) == table and [p.name for p in tmp_path.iterdir()] == [ACCURACY]


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[str], str]:
    def edited(text: str) -> str:
        fields = json.loads(text)
        change(fields)
        return json.dumps(fields)

    return edited


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: "",
        edit(lambda fields: fields.update(schema=2)),
        edit(lambda fields: fields.update(supernet_sha256="b" * 64)),
        edit(lambda fields: fields.update(learned=[])),
        edit(lambda fields: fields["learned"][0].update(networks="many")),
        edit(lambda fields: fields["learned"][0].update(resolution_px=0)),
        edit(lambda fields: fields.update(more=1)),
        edit(lambda fields: fields["learned"][0].update(more=1)),
        edit(lambda fields: fields["learned"][0].pop("sets")),
        edit(lambda fields: fields["learned"][0]["points"].pop("stem.width")),
        edit(lambda fields: fields["learned"][0]["points"].update({"stem.width": [0.0]})),
        edit(lambda fields: fields["learned"][0]["points"].update({"stem.width": [0.0, float("nan"), 1.0]})),
    ],
)
def test_a_damaged_table_and_one_of_another_supernet_are_refused_in_one_line(
    net: Net, tmp_path: Path, damage: Callable[[str], str]
) -> None:
    save_accuracy(accuracy_of(net), tmp_path)
    path = tmp_path / ACCURACY
    path.write_text(damage(path.read_text("utf-8")), "utf-8")
    with pytest.raises(BadSupernet, match="delete it, or install the supernet again") as refused:
        load_accuracy(tmp_path, net, SHA256)
    assert "\n" not in str(refused.value) and str(path) in str(refused.value)


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    return random_supernet("resnet", 32)


def sha256_of(folder: Path) -> str:
    return sha256((folder / WEIGHTS).read_bytes()).hexdigest()


def test_a_supernet_keeps_its_table_and_one_that_replaces_it_does_not_inherit_it(
    supernet: Supernet, tmp_path: Path
) -> None:
    save_supernet(supernet, tmp_path)
    assert load_supernet(tmp_path).accuracy is None
    table = accuracy_of(supernet.net, sha256=sha256_of(tmp_path))
    save_supernet(replace(supernet, accuracy=table), tmp_path)
    assert load_supernet(tmp_path).accuracy == table
    save_supernet(replace(supernet, accuracy=replace(table, supernet_sha256=SHA256)), tmp_path)
    assert load_supernet(tmp_path).accuracy is None, "it was of other weights"
