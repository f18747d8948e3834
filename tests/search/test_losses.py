"""Each objective's loss against a reference written another way."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from search.objectives import info_nce, nt_xent
from search.objectives.densecl import dense_info_nce, match
from search.objectives.ressl import relation_loss

B, D, K = 4, 8, 12


def unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def simclr(z: torch.Tensor, t: float) -> float:
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
def test_nt_xent_is_the_paper_s_sum(temperature: float) -> None:
    z = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    assert float(nt_xent(z, temperature)) == pytest.approx(simclr(z, temperature), rel=1e-5)


def test_of_nt_xent_only_directions_matter() -> None:
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


def test_one_direction_for_all_images_gains_nothing_however_far_it_is_from_the_queue() -> None:
    queue = unit(K, D, seed=3)
    direction = -F.normalize(queue.sum(0), dim=0).expand(B, D)
    assert float(info_nce(direction, direction, queue, 0.05)) >= math.log(B) - 1e-6


def test_a_perfect_student_beats_a_random_one_and_a_random_one_guesses() -> None:
    k, queue = unit(64, 256, seed=1), unit(1024, 256, seed=2)
    perfect, random = float(info_nce(k, k, queue, 0.1)), float(info_nce(unit(64, 256, seed=3), k, queue, 0.1))
    assert perfect < 0.2
    assert random == pytest.approx(math.log(64 + 1024), rel=0.1)


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
def test_info_nce_is_equation_1_of_moco_s_paper_with_the_batch_s_other_keys_as_negatives(temperature: float) -> None:
    q, k, queue = unit(B, D, seed=1), unit(B, D, seed=2), unit(K, D, seed=3)
    each = []
    for i in range(B):
        positive = math.exp(float(q[i] @ k[i]) / temperature)
        others = [*queue, *(k[j] for j in range(B) if j != i)]
        negatives = sum(math.exp(float(q[i] @ n) / temperature) for n in others)
        each.append(-math.log(positive / (positive + negatives)))
    assert float(info_nce(q, k, queue, temperature)) == pytest.approx(sum(each) / B, rel=1e-5)


def test_ressl_is_the_cross_entropy_of_two_softmaxes() -> None:
    q, k, keys = unit(B, D, seed=1), unit(B, D, seed=2), unit(K, D, seed=3)
    total = 0.0
    for i in range(B):
        wanted = [math.exp(float(k[i] @ n) / 0.04) for n in keys]
        mine = [math.exp(float(q[i] @ n) / 0.1) for n in keys]
        total -= sum(w / sum(wanted) * math.log(m / sum(mine)) for w, m in zip(wanted, mine, strict=True))
    assert float(relation_loss(q, k, keys, 0.1, 0.04)) == pytest.approx(total / B, rel=1e-4)


def test_ressl_s_loss_is_least_where_student_and_teacher_agree_at_one_temperature() -> None:
    k, keys = unit(B, D, seed=2), unit(K, D, seed=3)
    entropy = torch.distributions.Categorical(logits=k @ keys.T / 0.1).entropy().mean()
    torch.testing.assert_close(relation_loss(k, k, keys, 0.1, 0.1), entropy)
    assert relation_loss(unit(B, D, seed=4), k, keys, 0.1, 0.1) > entropy


def test_densecl_s_dense_loss_is_moco_s_for_every_position() -> None:
    q, k, pooled, keys = unit(B, 3, D, seed=1), unit(B, 3, D, seed=2), unit(B, D, seed=3), unit(K, D, seed=4)
    each = []
    for i in range(B):
        for s in range(3):
            positive = math.exp(float(q[i, s] @ k[i, s]) / 0.2)
            others = [*keys, *(pooled[j] for j in range(B) if j != i)]
            negatives = sum(math.exp(float(q[i, s] @ n) / 0.2) for n in others)
            each.append(-math.log(positive / (positive + negatives)))
    assert float(dense_info_nce(q, k, pooled, keys, 0.2)) == pytest.approx(sum(each) / len(each), rel=1e-5)


def test_positions_match_those_that_look_alike_wherever_they_moved() -> None:
    map1 = unit(B, 6, 5, seed=1).mT.contiguous()  # 6 positions of 5 channels
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    moved = 2.5 * map1[..., order]  # the length does not matter
    assert torch.equal(match(map1, moved), order.argsort().expand(B, -1))
    assert torch.equal(moved.gather(2, match(map1, moved)[:, None].expand_as(moved)), 2.5 * map1)
