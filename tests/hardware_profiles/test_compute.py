import pytest
import torch
from torch import nn

from hardware_profiles import count_compute


def test_a_convolution_counts_as_its_formula_says():
    module = nn.Conv2d(6, 8, 3, stride=2, padding=1, groups=2, bias=False)
    compute = count_compute(module, (1, 6, 16, 16))
    assert compute.params == 8 * 3 * 9
    assert compute.macs == 8 * 8 * 8 * 3 * 9


def test_counts_of_a_sequence_are_sums_and_grow_with_the_batch():
    a, b = nn.Conv2d(3, 8, 1), nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1))
    first, second = count_compute(a, (1, 3, 4, 4)), count_compute(b, (1, 8, 4, 4))
    both = count_compute(nn.Sequential(a, b), (1, 3, 4, 4))
    assert both.macs == first.macs + second.macs
    assert both.params == first.params + second.params
    assert count_compute(nn.Sequential(a, b), (5, 3, 4, 4)).macs == 5 * both.macs


@pytest.mark.parametrize("training", [True, False])
def test_the_module_stays_as_it_is(training):
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).train(training)
    count_compute(module, (1, 3, 8, 8))
    assert module.training is training
    assert module[0].weight.device == torch.device("cpu")
