import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search.objectives import MoCo, info_nce

B, D, K = 4, 8, 12


def unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=1)


def encoder(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 36, D))


def images(seed: int = 0) -> Tensor:
    return torch.randn(B, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def keys_of(objective: MoCo, x: Tensor) -> Tensor:
    """Of ``x`` as the second view; the first one does not matter."""
    (keys,) = objective.targets(images(7), x)
    return keys


def moco(teacher: nn.Module | None = None) -> MoCo:
    generator = torch.Generator().manual_seed(0)
    return MoCo(teacher or encoder(), dim=D, queue=K, temperature=0.2, generator=generator)


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
def test_the_loss_is_equation_1_of_the_paper_with_the_batch_s_other_keys_as_negatives(temperature: float) -> None:
    q, k, queue = unit(B, D, seed=1), unit(B, D, seed=2), unit(K, D, seed=3)
    each = []
    for i in range(B):
        positive = math.exp(float(q[i] @ k[i]) / temperature)
        others = [*queue, *(k[j] for j in range(B) if j != i)]
        negatives = sum(math.exp(float(q[i] @ n) / temperature) for n in others)
        each.append(-math.log(positive / (positive + negatives)))
    assert float(info_nce(q, k, queue, temperature)) == pytest.approx(sum(each) / B, rel=1e-5)


def test_a_perfect_student_beats_a_random_one_and_a_random_one_guesses() -> None:
    k, queue = unit(64, 256, seed=1), unit(1024, 256, seed=2)
    perfect, random = float(info_nce(k, k, queue, 0.1)), float(info_nce(unit(64, 256, seed=3), k, queue, 0.1))
    assert perfect < 0.2
    assert random == pytest.approx(math.log(64 + 1024), rel=0.1)


def test_one_direction_for_all_images_gains_nothing_however_far_it_is_from_the_queue() -> None:
    queue = unit(K, D, seed=3)
    direction = -F.normalize(queue.sum(0), dim=0).expand(B, D)
    assert float(info_nce(direction, direction, queue, 0.05)) >= math.log(B) - 1e-6


def test_the_loss_does_not_depend_on_the_order_of_the_queue_or_of_the_images() -> None:
    q, k, queue = unit(B, D, seed=1), unit(B, D, seed=2), unit(K, D, seed=3)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(info_nce(q, k, queue, 0.2), info_nce(q[order], k[order], queue.flip(0), 0.2))


def test_the_gradient_reaches_the_student_only() -> None:
    objective, student = moco(), encoder(1)
    x = images()
    targets = objective.targets(images(1), x)
    objective.loss(objective.encode(student, x, images(1)), targets).backward()
    assert all(p.grad is not None and p.grad.any() for p in student[4].parameters())
    assert not targets[0].requires_grad and not objective.queue.keys_KD.requires_grad
    assert all(p.grad is None and not p.requires_grad for p in objective.teacher.parameters())


def test_keys_are_unit_vectors_and_the_scale_of_a_projection_does_not_matter() -> None:
    objective = moco()
    keys = keys_of(objective, images())
    torch.testing.assert_close(keys.norm(dim=1), torch.ones(B))
    z = torch.randn(B, D)
    torch.testing.assert_close(objective.loss((z,), (keys,)), objective.loss((7 * z,), (keys,)))


def test_the_loss_is_computed_in_fp32_under_autocast() -> None:
    objective = moco()
    z, keys = torch.randn(B, D), unit(B, D)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = objective.loss((z,), (keys,))
    assert inside.dtype == torch.float32 and torch.equal(inside, objective.loss((z,), (keys,)))


def test_an_update_moves_each_parameter_by_name_and_no_buffer() -> None:
    teacher, student = encoder(0), encoder(1)
    student[1].running_mean.fill_(5.0)
    before = copy.deepcopy(teacher.state_dict())
    shuffled = dict(reversed(list(student.named_parameters())))
    moco(teacher).update(shuffled, (unit(B, D),), ema=0.9)
    for name, parameter in teacher.named_parameters():
        torch.testing.assert_close(parameter, 0.9 * before[name] + 0.1 * dict(student.named_parameters())[name])
    for name, buffer in teacher.named_buffers():
        assert torch.equal(buffer, before[name])


def test_the_teacher_normalizes_with_the_statistics_of_its_own_batch() -> None:
    objective = moco().train()
    x = images()
    objective.teacher[1].running_mean.fill_(100.0)
    keys = keys_of(objective, x)
    objective.teacher[1].running_mean.fill_(-100.0)
    assert torch.equal(keys, keys_of(objective, x))


def test_keys_are_queued_once_and_the_oldest_leave_first() -> None:
    objective, student = moco(), dict(encoder(1).named_parameters())
    first = objective.queue.keys_KD.clone()
    torch.testing.assert_close(first.norm(dim=1), torch.ones(K))
    batches = [unit(B, D, seed=seed) for seed in range(K // B + 1)]
    objective.update(student, (batches[0],), ema=0.9)
    assert torch.equal(objective.queue.keys_KD, torch.cat([batches[0], first[B:]])) and objective.queue.enqueued == B
    for batch in batches[1:]:
        objective.update(student, (batch,), ema=0.9)
    assert torch.equal(objective.queue.keys_KD, torch.cat([batches[-1], *batches[1:-1]]))
    assert objective.queue.enqueued == K + B


def test_teacher_and_queue_are_all_in_the_state_dict() -> None:
    objective, other = moco(), moco(encoder(2))
    objective.update(dict(encoder(1).named_parameters()), (unit(B, D),), ema=0.9)
    other.load_state_dict(objective.state_dict())
    assert torch.equal(keys_of(objective, images()), keys_of(other, images()))
    assert torch.equal(objective.queue.keys_KD, other.queue.keys_KD)
    assert objective.queue.enqueued == other.queue.enqueued
