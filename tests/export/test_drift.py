from __future__ import annotations

import pytest
import torch
from small_nets import ConvNet, seeded, structured_images
from torch import nn

from export.verify.drift import MOST, measure_drift


def recalibrated(images: torch.Tensor) -> nn.Module:
    net = seeded(ConvNet())
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()
            part.momentum = None
    net.train()
    with torch.no_grad():
        net(images)
    return net.eval()


def test_images_of_the_same_kind_hardly_move_the_means_and_others_do():
    net = recalibrated(structured_images(256, seed=1))
    same = measure_drift(net, structured_images(256, seed=2))
    inverted = measure_drift(net, structured_images(256, seed=2) * 0.1 + 1.5)
    assert same is not None and inverted is not None
    assert same < MOST < inverted


def test_the_statistics_own_images_do_not_drift():
    images = structured_images(64)
    assert measure_drift(recalibrated(images), images) == pytest.approx(0, abs=1e-4)


def test_a_shift_by_one_standard_deviation_is_a_drift_of_one():
    net = nn.Sequential(nn.BatchNorm2d(3)).eval()
    assert measure_drift(net, torch.ones(4, 3, 5, 5)) == pytest.approx(1, rel=1e-4)


def test_measuring_changes_nothing():
    net = seeded(ConvNet())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    measure_drift(net, structured_images(8))
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert not any(part._forward_pre_hooks for part in net.modules())


def test_a_network_without_normalization_has_no_drift():
    assert measure_drift(nn.Conv2d(3, 4, 3).eval(), structured_images(8)) is None
