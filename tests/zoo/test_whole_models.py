"""For det and seg a budget, a prediction, a measurement and a package are of the whole model, head included."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hardware_profiles.errors import MissingOp
from hardware_profiles.estimate import estimate_ms
from hardware_profiles.tables.find import find_table
from hardware_profiles.types import LatencyTable
from search.nets import NETS
from search.nets.whole import Headed
from search.subnets.costs import CostModel
from search.types import Task
from zoo.devices.this_machine import blocks_of, networks_of
from zoo.make.search import search
from zoo.package.folder import load_package

SIDE_PX = 16


@pytest.mark.parametrize("task", [Task.DET, Task.SEG])
def test_a_package_holds_the_whole_model_that_was_timed(
    task: Task, home: Path, own_table: LatencyTable, image_folder: Path, tmp_path: Path, short: None
) -> None:
    made = search(image_folder, out=tmp_path / "out", budget="40ms", task=task, resolution_px=SIDE_PX)
    found = load_package(made.path, verify=True)
    card, family = found.card, Headed(NETS["mobile"], task, 20)
    assert card.head is not None and len(card.head.classes) == 20 and not card.head.trained
    predicted_ms = estimate_ms(own_table, family.ops(card.architecture))
    assert card.reports[0].predicted_ms == pytest.approx(predicted_ms)
    split = card.split
    assert split is not None and split.predicted_head_ms == len(family.head(card.architecture))
    assert split.predicted_backbone_ms + split.predicted_head_ms == pytest.approx(predicted_ms)
    assert split.measured_backbone_ms is not None and split.measured_head_ms is not None
    assert card.reports[0].measured is not None
    total_ms = split.measured_backbone_ms + split.measured_head_ms
    assert total_ms == pytest.approx(card.reports[0].measured.median_ms, abs=1e-5)
    assert {one.output for one in card.reports[0].comparison.outputs} == set(
        found.network(torch.zeros(1, 3, SIDE_PX, SIDE_PX))
    )
    assert "not trained yet" in (made.path / "README.md").read_text()


def test_a_table_without_the_head_names_the_command_that_measures_it() -> None:
    table = find_table("epyc-avx2", net="mobile", resolution_px=64)
    with pytest.raises(MissingOp, match=re.escape("zoo devices measure --net mobile --resolution 64 --classes 7")) as e:
        CostModel(Headed(NETS["mobile"], Task.SEG, 7), replace_highs(table))
    assert "\n" not in str(e.value)


def replace_highs(table: LatencyTable) -> LatencyTable:
    """The table with all blocks of a segmenter but the one that has classes."""
    first, last = Headed(NETS["mobile"], Task.SEG, 7).head(NETS["mobile"].largest(table.resolution_px))
    assert last.kind == "seg_predict"
    return replace(table, entries={**table.entries, first: next(iter(table.entries.values()))})


def test_costs_of_a_whole_model_are_those_of_its_blocks(own_table: LatencyTable) -> None:
    net = NETS["mobile"]
    family = Headed(net, Task.DET, 20)
    rows = family.encode([net.smallest(SIDE_PX), net.largest(SIDE_PX)])
    costs = CostModel(family, own_table)(rows)
    for i, architecture in enumerate((net.smallest(SIDE_PX), net.largest(SIDE_PX))):
        assert costs.predicted_ms[i] == pytest.approx(estimate_ms(own_table, family.ops(architecture)))
    assert all(key.kind != "head" for key in family.ops(net.largest(SIDE_PX)))


def test_measured_blocks_cover_every_measured_network() -> None:
    net = NETS["mobile-photo"]
    blocks = blocks_of(net, 96, (3,))
    networks = networks_of(net, 96, 6, batch=1, seed=0, classes=(3,))
    kinds = {key.kind for network in networks for key in network.ops}
    assert {"head", "det_predict", "seg_predict"} <= kinds
    assert all(key in blocks for network in networks for key in network.ops)
