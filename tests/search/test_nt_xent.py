import math

import pytest
import torch

from search.objectives import nt_xent


def reference(z: torch.Tensor, t: float) -> float:
    """The paper's double loop."""
    z = z.double()
    n = len(z) // 2

    def cos(i: int, k: int) -> float:
        return float(z[i] @ z[k] / (z[i].norm() * z[k].norm()))

    total = 0.0
    for i in range(2 * n):
        others = sum(math.exp(cos(i, k) / t) for k in range(2 * n) if k != i)
        total -= math.log(math.exp(cos(i, (i + n) % (2 * n)) / t) / others)
    return total / (2 * n)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
def test_it_is_the_paper_s_sum(temperature: float) -> None:
    z = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    assert float(nt_xent(z, temperature)) == pytest.approx(reference(z, temperature), rel=1e-5)


def test_only_directions_matter() -> None:
    z = torch.randn(8, 5)
    lengths = torch.rand(8, 1) + 0.1
    rotation = torch.linalg.qr(torch.randn(5, 5))[0]
    torch.testing.assert_close(nt_xent(z, 0.5), nt_xent(z * lengths, 0.5))
    torch.testing.assert_close(nt_xent(z, 0.5), nt_xent(z @ rotation, 0.5))


def test_the_order_of_images_and_of_their_views_does_not_matter() -> None:
    first, second = torch.randn(2, 6, 5)
    order = torch.randperm(6)
    expected = nt_xent(torch.cat([first, second]), 0.5)
    torch.testing.assert_close(nt_xent(torch.cat([first[order], second[order]]), 0.5), expected)
    torch.testing.assert_close(nt_xent(torch.cat([second, first]), 0.5), expected)


def test_agreeing_views_of_distinct_images_are_the_best_and_a_collapse_is_chance() -> None:
    distinct = torch.eye(6).repeat(2, 1)
    collapsed = torch.ones(12, 6)
    crossed = torch.cat([torch.eye(6), torch.eye(6).roll(1, 0)])
    assert nt_xent(distinct, 0.1) < 1e-3 < math.log(11) < nt_xent(crossed, 0.1)
    assert float(nt_xent(collapsed, 0.1)) == pytest.approx(math.log(11), abs=1e-5)


def test_a_low_temperature_neither_overflows_nor_loses_its_gradient() -> None:
    z = torch.randn(8, 5, dtype=torch.float16).requires_grad_()
    loss = nt_xent(z, 0.01)
    loss.backward()
    assert loss.isfinite() and z.grad is not None and z.grad.isfinite().all() and z.grad.any()


@pytest.mark.parametrize("rows", [0, 2, 5])
def test_too_few_or_unpaired_projections_are_refused(rows: int) -> None:
    with pytest.raises(ValueError, match=f"{rows} projections"):
        nt_xent(torch.randn(rows, 3), 0.5)
