"""Cost models: what a network computes, what its layers cost, and how well an unseen model is predicted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from hardware_profiles import BadProfile, BadTimes, estimate_ms, find_costs, keep_table, list_tables
from hardware_profiles.fit.count import Layer, count_layers
from hardware_profiles.fit.price import price_table
from hardware_profiles.fit.public import TERMS, Timed, fit_costs, robust_costs
from search.nets import NETS
from tests.small_tables import DEVICE

NET = NETS["mobile-photo"]


def network(rng: np.random.Generator) -> tuple[Layer, ...]:
    """A chain of layers of random sizes."""
    layers = []
    for _ in range(int(rng.integers(5, 40))):
        c, pixels = int(rng.integers(1, 16)) * 32, int(rng.integers(50, 3000))
        depthwise = bool(rng.integers(2))
        layers.append(
            Layer(
                operation="depthwise" if depthwise else "pointwise",
                macs=9 * c * pixels if depthwise else c * c * pixels,
                reads=c * pixels,
                writes=c * pixels,
                weights=9 * c if depthwise else c * c,
                c_in=1 if depthwise else c,
                c_out=c,
                pixels=pixels,
                kernel=3 if depthwise else 1,
            )
        )
    return tuple(layers)


def time_ms(layers: tuple[Layer, ...]) -> float:
    """A device on which calls, padded multiply-accumulates and traffic cost."""
    costs = {"calls": 2e-3, "padded_macs": 1e-10, "traffic": 2e-9}
    return 0.3 + sum(cost * TERMS[term](layer) for layer in layers for term, cost in costs.items())


@pytest.fixture(scope="module")
def timed() -> list[Timed]:
    rng = np.random.default_rng(0)
    chains = [network(rng) for _ in range(24)]
    return [Timed(model=f"net{i}", layers=one, latency_ms=time_ms(one), mobile=i < 5) for i, one in enumerate(chains)]


@pytest.fixture(scope="module")
def model(timed):
    return fit_costs(timed, device=replace(DEVICE, id="phone"), made_by="a command", measured_at="today")


def test_layers_are_counted_as_their_formulas_say_and_what_is_folded_is_not():
    net = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 5, 1, 2, groups=8))
    dense, depthwise = count_layers(net.to("meta"), [(3, 32, 32)])
    assert (dense.operation, dense.macs, dense.weights) == ("dense", 8 * 3 * 9 * 256, 8 * 3 * 9)
    assert (dense.reads, dense.writes, dense.pixels) == (3 * 1024, 8 * 256, 256)
    assert (depthwise.operation, depthwise.macs) == ("depthwise", 8 * 25 * 256)


def test_the_blocks_of_a_network_do_what_the_network_does():
    px = 96
    architecture = NET.random(px, np.random.default_rng(1))
    with torch.device("meta"):
        whole = count_layers(NET.build(architecture), [(3, px, px)])
        parts = [
            layer
            for key in NET.ops(architecture)
            for layer in count_layers(NET.build_op(key), [(key.c_in, key.height_px, key.width_px)])
        ]
    for term, amount in TERMS.items():
        assert sum(map(amount, whole)) == sum(map(amount, parts)), term


def test_a_device_that_follows_the_terms_is_found_and_its_unseen_models_are_predicted(model):
    assert model.validation.networks == 24 and model.mobile_validation.networks == 5
    assert model.validation.median_percent < 1 and model.validation.kendall_tau > 0.98


def test_a_few_wrong_times_move_no_cost(timed):
    rows = np.array([[1.0, sum(map(TERMS["calls"], n.layers)), sum(map(TERMS["traffic"], n.layers))] for n in timed])
    times = rows @ [0.3, 2e-3, 2e-9]
    wrong = times.copy()
    wrong[[3, 9]] *= 5
    np.testing.assert_allclose(rows @ robust_costs(rows, wrong), times, rtol=0.03)


def test_a_cost_model_is_kept_listed_and_read_back(tmp_path, model):
    path = keep_table(model, tmp_path)
    assert path.name == "phone.any.yaml"
    assert find_costs("phone", folders=[tmp_path]) == model
    (file,) = [file for file in list_tables([tmp_path]) if file.device_id == "phone"]
    assert file.head().validation == model.validation
    path.write_text(path.read_text("utf-8").replace("terms: {", "terms: {calls: -1.0, "), "utf-8")
    with pytest.raises(BadProfile, match=r"appears twice|calls is -1"):
        file.costs()


def test_any_block_is_priced_and_more_pixels_cost_more(model):
    times = []
    for px in (96, 224, 320):
        table = price_table(model, NET.op_keys(px), NET.build_op, net=NET.name, resolution_px=px)
        assert len(table.entries) == len(NET.op_keys(px))
        times.append(estimate_ms(table, NET.ops(NET.largest(px))))
    assert times == sorted(times) and times[0] > model.overhead_ms
    wide = replace(NET.op_keys(96)[0], width_px=192)
    assert table.entries[wide].median_ms > table.entries[NET.op_keys(96)[0]].median_ms


def test_too_few_models_and_impossible_times_are_refused(timed):
    with pytest.raises(BadTimes, match="7 models are too few"):
        fit_costs(timed[:7], device=DEVICE, made_by="", measured_at="")
    with pytest.raises(BadTimes, match="nan"):
        fit_costs([replace(timed[0], latency_ms=float("nan")), *timed[1:]], device=DEVICE, made_by="", measured_at="")
