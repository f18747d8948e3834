import pytest
import torch

from search.evaluate import classifiers as knn
from search.evaluate import knn_accuracy


def reference(train, train_y, test, test_y, k, tau) -> float:
    hits = 0
    for x, y in zip(test, test_y, strict=True):
        near = sorted(
            ((float(torch.cosine_similarity(x, t, dim=0)), int(c)) for t, c in zip(train, train_y, strict=True))
        )[-k:]
        votes = {c: sum(torch.tensor(s / tau).exp().item() for s, d in near if d == c) for _, c in near}
        hits += max(votes, key=votes.__getitem__) == int(y)
    return hits / len(test)


def clusters(n: int, seed: int, classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, classes, (n,), generator=g)
    centers = torch.randn(classes, 8, generator=torch.Generator().manual_seed(99))
    return centers[y] + 1.5 * torch.randn(n, 8, generator=g), y


@pytest.mark.parametrize("k", [1, 7, 50, 200])
@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
def test_accuracy_equals_the_reference(k: int, temperature: float) -> None:
    (train, train_y), (test, test_y) = clusters(120, 0), clusters(40, 1)
    ours = knn_accuracy(train, train_y, test, test_y, k=k, temperature=temperature)
    assert ours == pytest.approx(reference(train, train_y, test, test_y, k, temperature))
    assert 0.3 < ours < 1


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    data = (*clusters(120, 0), *clusters(41, 1))
    whole = knn_accuracy(*data)
    monkeypatch.setattr(knn, "_CHUNK_BYTES", 4 * 120 * 7)
    assert knn_accuracy(*data) == whole


def test_the_scale_of_the_features_does_not_matter() -> None:
    (train, train_y), (test, test_y) = clusters(120, 0), clusters(40, 1)
    assert knn_accuracy(1000 * train, train_y, 0.001 * test, test_y) == knn_accuracy(train, train_y, test, test_y)


def test_a_tiny_temperature_is_the_nearest_neighbor_and_overflows_nothing() -> None:
    (train, train_y), (test, test_y) = clusters(120, 0), clusters(40, 1)
    nearest = knn_accuracy(train, train_y, test, test_y, k=1)
    assert knn_accuracy(train, train_y, test, test_y, temperature=1e-6) == nearest


def test_k_is_clipped_to_the_samples_there_are() -> None:
    (train, train_y), (test, test_y) = clusters(12, 0), clusters(40, 1)
    assert knn_accuracy(train, train_y, test, test_y) == knn_accuracy(train, train_y, test, test_y, k=12)


def test_a_test_class_that_training_never_saw_counts_as_wrong() -> None:
    x = torch.eye(4)
    assert knn_accuracy(x, torch.zeros(4, dtype=torch.long), x, torch.tensor([0, 0, 0, 9]), k=1) == 0.75


@pytest.mark.parametrize(
    ("train", "train_y", "test", "test_y", "message"),
    [
        ((4, 3), 4, (4, 2), 4, "features are"),
        ((4, 3), 3, (4, 3), 4, "labels"),
        ((4, 3), 4, (0, 3), 0, "at least 1"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(train, train_y, test, test_y, message) -> None:
    labels = torch.zeros(train_y, dtype=torch.long), torch.zeros(test_y, dtype=torch.long)
    with pytest.raises(ValueError, match=message):
        knn_accuracy(torch.rand(train), labels[0], torch.rand(test), labels[1])
