"""Laws of the two classifiers that judge frozen features."""

import pytest
import torch
from torch import Tensor

from search.evaluate import knn_accuracy, linear_accuracy
from search.evaluate.classifiers import DECAYS, accuracy, best_decay, fit_linear


def clusters(n: int, seed: int, *, noise: float = 1.5, classes: int = 5, size: int = 12) -> tuple[Tensor, Tensor]:
    """Strongly correlated features, as pooled ones are, with scales and offsets of their own."""
    g, fixed = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(99)
    y = torch.arange(n) % classes
    x = torch.randn(classes, size, generator=fixed)[y] + noise * torch.randn(n, size, generator=g)
    mixing = torch.ones(size, size) + 0.3 * torch.randn(size, size, generator=fixed)
    return x @ mixing * torch.linspace(0.01, 100, size) + 7, y


def vote(train: Tensor, train_y: Tensor, x: Tensor, k: int, tau: float) -> int:
    """The definition, for one sample."""
    near = torch.cosine_similarity(x[None], train).topk(min(k, len(train)))
    votes = torch.zeros(10).scatter_add_(0, train_y[near.indices], (near.values / tau).exp())
    return int(votes.argmax())


@pytest.mark.parametrize(("k", "tau"), [(1, 0.1), (7, 0.05), (200, 1.0)])
def test_neighbors_vote_by_their_cosine(k: int, tau: float) -> None:
    (train, train_y), (test, test_y) = clusters(120, 0), clusters(40, 1)
    expected = sum(vote(train, train_y, x, k, tau) == int(y) for x, y in zip(test, test_y, strict=True)) / 40
    assert knn_accuracy(train, train_y, test, test_y, k=k, temperature=tau) == pytest.approx(expected)
    assert knn_accuracy(1000 * train, train_y, test, test_y, k=k, temperature=tau) == pytest.approx(expected)


def test_a_tiny_temperature_is_the_nearest_neighbor_and_overflows_nothing() -> None:
    data = (*clusters(120, 0), *clusters(40, 1))
    assert knn_accuracy(*data, temperature=1e-6) == knn_accuracy(*data, k=1)


def test_a_linear_classifier_tells_what_a_plane_parts_whatever_the_scales_and_does_not_guess() -> None:
    (x, y), (asked, labels) = clusters(200, 0, noise=0.02), clusters(100, 1, noise=0.02)
    five = torch.full((200, 4), 5.0)
    still = [torch.cat((part * torch.linspace(0.1, 30, 12) - 3, five[: len(part)]), 1) for part in (x, asked)]
    assert linear_accuracy(x, y, asked, labels) == linear_accuracy(still[0], y, still[1], labels) == 1
    guessed = torch.randint(5, (200,), generator=torch.Generator().manual_seed(0))
    assert linear_accuracy(x, guessed, asked, labels) < 0.6


def test_more_features_than_samples_are_no_problem() -> None:
    (x, y), (asked, labels) = clusters(40, 0, noise=0.1, size=90), clusters(40, 1, noise=0.1, size=90)
    assert linear_accuracy(x, y, asked, labels) > 0.9


def test_the_penalty_is_the_one_that_does_best_on_the_validation_samples() -> None:
    train, validation = clusters(60, 0, noise=3), clusters(200, 1, noise=3)
    each = {decay: accuracy(fit_linear(train, decay), validation) for decay in DECAYS}
    chosen = best_decay(train, validation)
    assert each[chosen] == max(each.values())
    assert best_decay(train, train) < chosen  # where it can learn them by heart


def test_the_same_seed_gives_the_same_accuracy() -> None:
    data = (*clusters(100, 0), *clusters(50, 1))
    assert linear_accuracy(*data, seed=3) == linear_accuracy(*data, seed=3)


@pytest.mark.parametrize("judge", [linear_accuracy, knn_accuracy])
def test_a_class_that_training_never_saw_counts_as_wrong(judge) -> None:
    x = torch.eye(4)
    assert judge(x, torch.zeros(4, dtype=torch.long), x, torch.tensor([0, 0, 0, 9])) == 0.75


@pytest.mark.parametrize("judge", [linear_accuracy, knn_accuracy])
@pytest.mark.parametrize(
    ("train", "labels", "test", "asked"), [((4, 3), 4, (4, 2), 4), ((4, 3), 3, (4, 3), 4), ((4, 3), 4, (0, 3), 0)]
)
def test_shapes_that_do_not_fit_are_refused(judge, train, labels: int, test, asked: int) -> None:
    zeros = [torch.zeros(count, dtype=torch.long) for count in (labels, asked)]
    with pytest.raises(ValueError, match=r"must be|needed are"):
        judge(torch.rand(train), zeros[0], torch.rand(test), zeros[1])
