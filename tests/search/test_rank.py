import pytest
import torch

from search.oneshot.step import rank_of


def test_one_point_has_neither_spread_nor_rank() -> None:
    rank = rank_of(torch.ones(8, 4))
    assert rank.spread == pytest.approx(0, abs=1e-6) and rank.effective == pytest.approx(1, abs=0.1)


def test_points_on_a_line_have_rank_one_and_directions_everywhere_all_there_are() -> None:
    ends = torch.tensor([[1.0, 0.2, 0], [1, -0.2, 0]]).repeat(6, 1)
    assert rank_of(ends).effective == pytest.approx(1, abs=1e-4)
    many = torch.randn(4000, 5, generator=torch.Generator().manual_seed(0))
    everywhere = rank_of(many)
    assert everywhere.effective == pytest.approx(5, abs=0.05) and everywhere.spread == pytest.approx(1, abs=0.01)


def test_neither_depends_on_lengths_order_or_rotation() -> None:
    z = torch.randn(16, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    turned = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
    lengths = torch.rand(16, 1, dtype=torch.float64) + 0.5
    for other in (z * lengths, z.flip(0), z @ turned):
        assert rank_of(other).spread == pytest.approx(rank_of(z).spread)
        assert rank_of(other).effective == pytest.approx(rank_of(z).effective, abs=1e-4)


def test_spread_is_the_root_of_one_minus_the_mean_direction_s_square() -> None:
    z = torch.nn.functional.normalize(torch.randn(32, 4, generator=torch.Generator().manual_seed(1)) + 1, dim=1)
    assert rank_of(z).spread == pytest.approx(float((1 - z.mean(0).square().sum()).sqrt()), rel=1e-5)


def test_the_corners_of_a_triangle_lie_in_a_plane() -> None:
    assert rank_of(torch.eye(3)).effective == pytest.approx(2)
