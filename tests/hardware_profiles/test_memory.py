import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hardware_profiles import count_compute, to_onnx_bytes
from hardware_profiles.memory import Step, peak_elements
from tests.onnx_memory import peak_activation_bytes
from tests.small_tables import FEW


def step(reads: str, writes: str, elements: int, *, in_place: bool = False) -> Step:
    return Step(reads=tuple(reads), writes=writes, elements=elements, in_place=in_place)


def test_a_chain_holds_one_map_and_its_successor():
    steps = [step("x", "a", 30), step("a", "b", 20), step("b", "c", 5)]
    assert peak_elements({"x": 10}, steps, "c") == 50
    assert peak_elements({"x": 40}, steps, "c") == 70


def test_a_map_that_is_read_again_later_waits():
    steps = [step("x", "a", 30), step("a", "b", 20), step("bx", "c", 10)]
    assert peak_elements({"x": 10}, steps, "c") == 60
    assert peak_elements({"x": 10}, [*steps[:2], step("b", "c", 10)], "c") == 50


def test_a_sum_overwrites_a_term_unless_somebody_still_reads_it():
    add = step("ab", "c", 10, in_place=True)
    steps = [step("x", "a", 10), step("x", "b", 10)]
    assert peak_elements({"x": 10}, [*steps, add], "c") == 30
    assert peak_elements({"x": 10}, [*steps, add, step("abc", "d", 1)], "d") == 31


def test_what_the_caller_gave_is_never_overwritten_and_what_nobody_reads_is_freed_at_once():
    assert peak_elements({"x": 10}, [step("x", "a", 10, in_place=True)], "a") == 20
    assert peak_elements({"x": 10}, [step("x", "a", 7), step("x", "b", 5)], "b") == 17


@FEW
@given(st.lists(st.integers(1, 100), min_size=1, max_size=8))
def test_a_chain_s_peak_is_its_largest_pair_of_neighbors(sizes):
    steps = [step(str(i), str(i + 1), size) for i, size in enumerate(sizes)]
    pairs = zip([7, *sizes], sizes, strict=False)
    assert peak_elements({"0": 7}, steps, [str(len(sizes))]) == max(map(sum, pairs))


def test_an_onnx_file_s_peak_is_the_one_counted_by_hand():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.widen, self.narrow = nn.Conv2d(4, 24, 1), nn.Conv2d(24, 4, 1)
            self.norm = nn.BatchNorm2d(24)

        def forward(self, x):
            return (x + self.narrow(torch.relu(self.norm(self.widen(x))))).flatten(1)

    # The input waits for the sum while the wide map makes room for the narrow one; ReLU, sum and view cost nothing.
    assert peak_activation_bytes(to_onnx_bytes(Residual().eval(), (1, 4, 8, 8))) == 4 * 64 * (4 + 24 + 4)
    assert peak_activation_bytes(to_onnx_bytes(Residual().eval(), (3, 4, 8, 8))) == 3 * 4 * 64 * (4 + 24 + 4)


def test_a_file_with_open_shapes_is_refused(tmp_path):
    path = tmp_path / "open.onnx"
    with pytest.warns(DeprecationWarning):
        torch.onnx.export(
            nn.Conv2d(3, 4, 1),
            (torch.zeros(1, 3, 8, 8),),
            path,
            input_names=["x"],
            dynamic_axes={"x": {0: "n"}},
            dynamo=False,
        )
    with pytest.raises(ValueError, match="fixed shapes"):
        peak_activation_bytes(path.read_bytes())


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
