import pytest
import torch
from torch import Tensor

from search.scores import agreement, projections
from tests.search.small_supernets import random_supernet


def features(seed: int, images: int = 200, dim: int = 16) -> Tensor:
    return torch.randn(images, dim, generator=torch.Generator().manual_seed(seed)) + 3  # not centered


def test_a_copy_scores_1_and_nothing_scores_more() -> None:
    teacher = features(0)
    assert agreement(teacher, teacher) == pytest.approx(1)
    others = [features(1), -teacher, teacher + 0.1 * features(2), teacher.relu(), 2 * teacher.flip(0)]
    assert all(-1 <= agreement(other, teacher) < 1 for other in others)


def test_a_constant_map_scores_0_wherever_it_points() -> None:
    teacher = features(0)
    for constant in (teacher.mean(0), teacher[0], torch.ones(16), torch.zeros(16)):
        assert agreement(constant.expand(200, 16), teacher) == pytest.approx(0, abs=1e-6)
        assert agreement(teacher, constant.expand(200, 16)) == pytest.approx(0, abs=1e-6)


def test_the_features_of_other_images_score_about_0() -> None:
    teacher = features(0)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(1))
    assert abs(agreement(teacher[order], teacher)) < 0.1
    assert abs(agreement(features(1), teacher)) < 0.1


def test_scale_does_not_matter_neither_of_all_images_nor_of_one() -> None:
    student, teacher = features(1) + features(0), features(0)
    score = agreement(student, teacher)
    scales = torch.rand(200, 1, generator=torch.Generator().manual_seed(1)) + 0.1
    assert agreement(1000 * student, teacher) == pytest.approx(score)
    assert agreement(student * scales, teacher / scales) == pytest.approx(score)


def test_agreement_is_symmetric_and_falls_with_noise() -> None:
    teacher = features(0)
    assert agreement(features(1), teacher) == pytest.approx(agreement(teacher, features(1)))
    scores = [agreement(teacher + noise * features(1), teacher) for noise in (0, 0.2, 0.5, 1, 2)]
    assert scores == sorted(scores, reverse=True)


def test_the_order_of_the_images_does_not_matter() -> None:
    student, teacher = features(1) + features(0), features(0)
    assert agreement(student.flip(0), teacher.flip(0)) == pytest.approx(agreement(student, teacher))


def test_projections_use_the_batch_s_own_statistics_and_leave_eval_mode() -> None:
    supernet = random_supernet("tiny", 16)
    backbone = supernet.subnet(supernet.net.smallest(16))
    projector = supernet.projector(backbone.embedding_dim)
    x = torch.randn(6, 3, 16, 16)
    z = projections(backbone, projector, x)
    assert z.shape == (6, 8) and not z.requires_grad and not backbone.training and not projector.training
    for buffer in [*backbone.buffers(), *projector.buffers()]:
        buffer.fill_(7)
    assert torch.equal(projections(backbone, projector, x), z)
