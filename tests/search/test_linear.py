import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from search.evaluate import linear_accuracy
from search.evaluate.classifiers import DECAYS, best_linear, fit_linear


def clusters(n: int, seed: int, *, noise: float = 1.5, classes: int = 5, size: int = 12) -> tuple[Tensor, Tensor]:
    """Strongly correlated features, as pooled ones are, with scales and offsets of their own."""
    g, fixed = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(99)
    y = torch.arange(n) % classes
    x = torch.randn(classes, size, generator=fixed)[y] + noise * torch.randn(n, size, generator=g)
    mixing = torch.ones(size, size) + 0.3 * torch.randn(size, size, generator=fixed)
    return x @ mixing * torch.linspace(0.01, 100, size) + 7, y


@pytest.mark.parametrize("decay", DECAYS)
def test_the_gradient_of_loss_and_penalty_vanishes_at_the_solution(decay: float) -> None:
    x, y = clusters(200, 0)
    fitted = fit_linear((x, y), decay, classes=5)
    standardized = ((x - x.mean(0)) / x.std(0, correction=0)).double()
    weight, bias = (part.double().requires_grad_() for part in (fitted.weight_DC, fitted.bias_C))
    loss = F.cross_entropy(standardized @ weight + bias, y) + decay * weight.square().sum()
    gradients = torch.autograd.grad(loss, (weight, bias))
    assert max(float(gradient.abs().max()) for gradient in gradients) < 3e-4


def test_scale_and_offset_of_a_feature_do_not_matter() -> None:
    (x, y), (asked, labels) = clusters(200, 0), clusters(100, 1)
    moved = [part * torch.linspace(0.1, 30, 12) - 3 for part in (x, asked)]
    assert linear_accuracy(moved[0], y, moved[1], labels) == pytest.approx(
        linear_accuracy(x, y, asked, labels), abs=0.02
    )


def test_classes_that_a_plane_parts_are_told_apart_and_random_labels_are_not() -> None:
    (x, y), (asked, labels) = clusters(200, 0, noise=0.02), clusters(100, 1, noise=0.02)
    assert linear_accuracy(x, y, asked, labels) == 1
    guessed = torch.randint(5, (200,), generator=torch.Generator().manual_seed(0))
    assert linear_accuracy(x, guessed, asked, labels) < 0.6


def test_features_that_never_change_harm_nothing() -> None:
    (x, y), (asked, labels) = clusters(200, 0), clusters(100, 1)
    still = [torch.cat((part, torch.full((len(part), 4), 5.0)), dim=1) for part in (x, asked)]
    assert linear_accuracy(still[0], y, still[1], labels) == pytest.approx(
        linear_accuracy(x, y, asked, labels), abs=0.02
    )


def test_more_features_than_samples_are_no_problem() -> None:
    (x, y), (asked, labels) = clusters(40, 0, noise=0.1, size=90), clusters(40, 1, noise=0.1, size=90)
    assert linear_accuracy(x, y, asked, labels) > 0.9


def test_the_penalty_is_the_one_that_does_best_on_the_validation_samples() -> None:
    train, validation = clusters(60, 0, noise=3), clusters(200, 1, noise=3)
    chosen = best_linear(train, validation, classes=5, decays=DECAYS)
    each = {decay: fit_linear(train, decay, classes=5).accuracy(*validation) for decay in DECAYS}
    tried = [decay for decay in DECAYS if decay >= chosen.decay]
    assert each[chosen.decay] == max(each[decay] for decay in tried)
    weaker = best_linear(train, train, classes=5, decays=DECAYS)  # where it can learn them by heart
    assert weaker.decay < chosen.decay


def test_a_stronger_penalty_makes_smaller_weights() -> None:
    norms = [float(fit_linear(clusters(200, 0), decay, classes=5).weight_DC.norm()) for decay in DECAYS]
    assert norms == sorted(norms)


def test_the_same_seed_gives_the_same_accuracy() -> None:
    data = (*clusters(100, 0), *clusters(50, 1))
    assert linear_accuracy(*data, seed=3) == linear_accuracy(*data, seed=3)


@pytest.mark.parametrize(
    ("train", "labels", "test", "asked"), [((4, 3), 4, (4, 2), 4), ((4, 3), 3, (4, 3), 4), ((1, 3), 1, (4, 3), 4)]
)
def test_shapes_that_do_not_fit_are_refused(
    train: tuple[int, int], labels: int, test: tuple[int, int], asked: int
) -> None:
    zeros = [torch.zeros(count, dtype=torch.long) for count in (labels, asked)]
    with pytest.raises(ValueError, match=r"must be|needed are"):
        linear_accuracy(torch.rand(train), zeros[0], torch.rand(test), zeros[1])


def test_no_penalty_is_refused() -> None:
    with pytest.raises(ValueError, match="decay is 0"):
        fit_linear(clusters(20, 0), 0, classes=5)
