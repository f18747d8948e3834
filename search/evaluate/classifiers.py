"""How well frozen features tell classes apart: a vote of neighbors, and a linear classifier; scikit-learn's, both.

The vote is weighted as in Wu et al., CVPR 2018, section 3.4. The linear classifier is multinomial regression on
standardized features, its L2 penalty chosen on held-out training samples, as in Kornblith et al. 2019
(arXiv:1805.08974), appendix A.1.

Symbols: N training and M test samples, D features, C classes.
"""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

# Weights of |W|^2 beside the mean loss, from strong to weak, a decade apart.
DECAYS = (1.0, 1e-1, 1e-2, 1e-3)
_HELD_OUT = 0.1
_MAX_STEPS = 200  # of L-BFGS; the accuracy no longer moves long before

Features = tuple[Tensor, Tensor]
"""Features [N, D] and their labels [N], integers from 0."""


def linear_accuracy(
    train_ND: Tensor, train_labels_N: Tensor, test_MD: Tensor, test_labels_M: Tensor, *, seed: int = 0
) -> float:
    """Share of test samples, 0..1, that a linear classifier of the training samples gets right.

    The penalty is chosen on a tenth of the training samples, drawn from ``seed``; the classifier is then fitted to all
    of them. The test samples choose nothing.

    Raises:
        ValueError: the shapes do not fit each other, or there are fewer than 2 training samples or no test sample.

    Example:
        >>> x, y = torch.eye(4).repeat(10, 1), torch.arange(4).repeat(10)
        >>> linear_accuracy(x, y, x, y)
        1.0
    """
    train, test = (train_ND, train_labels_N), (test_MD, test_labels_M)
    _check(train, test, fewest=2)
    if bool((train_labels_N == train_labels_N[0]).all()):
        return float((test_labels_M == train_labels_N[0]).double().mean())
    return accuracy(best_linear(train, seed=seed), test)


def best_linear(train: Features, *, seed: int = 0) -> Pipeline:
    """The classifier of samples of at least two classes, its penalty chosen on a tenth of them."""
    x_ND, labels_N = train
    order = torch.randperm(len(x_ND), generator=torch.Generator().manual_seed(seed))
    held_out, rest = order.tensor_split([max(1, round(_HELD_OUT * len(order)))])
    return fit_linear(train, best_decay(*((x_ND[rows], labels_N[rows]) for rows in (rest, held_out))))


def best_decay(train: Features, validation: Features, *, decays: Sequence[float] = DECAYS) -> float:
    """The penalty with which a classifier of ``train`` does best on ``validation``; of equal ones the strongest."""
    if bool((train[1] == train[1][0]).all()):
        return decays[0]
    return max(decays, key=lambda decay: (accuracy(fit_linear(train, decay), validation), decay))


def fit_linear(train: Features, decay: float) -> Pipeline:
    """The classifier of samples [N, D] of at least two classes, with one penalty above 0."""
    if decay <= 0:
        raise ValueError(f"decay is {decay}; it must be above 0, or there may be no solution")
    x_ND, labels_N = _arrays(train)
    regression = LogisticRegression(C=1 / (2 * decay * len(x_ND)), max_iter=_MAX_STEPS)
    fitted = make_pipeline(StandardScaler(), regression)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted.fit(x_ND, labels_N)
    return fitted


def accuracy(classifier: Pipeline, test: Features) -> float:
    """Share of the samples, 0..1, that it gets right."""
    return float(classifier.score(*_arrays(test)))


def knn_accuracy(
    train_ND: Tensor,
    train_labels_N: Tensor,
    test_MD: Tensor,
    test_labels_M: Tensor,
    *,
    k: int = 200,
    temperature: float = 0.1,
) -> float:
    """Share of test samples, 0..1, whose label wins the vote of their neighbors by cosine.

    Args:
        train_ND: features of the labelled samples, any scale; pooled features, not a projector's.
        train_labels_N: their classes, integers from 0.
        test_MD: features of the samples to classify, from the same preprocessing.
        test_labels_M: their classes.
        k: neighbors that vote; all N where there are fewer.
        temperature: tau; the smaller, the more the nearest count.

    Raises:
        ValueError: the shapes do not fit each other, or there is nothing to compare.

    Example:
        >>> x, y = torch.eye(4), torch.arange(4)
        >>> knn_accuracy(x, y, x, y, k=1)
        1.0
    """
    train, test = (train_ND, train_labels_N), (test_MD, test_labels_M)
    _check(train, test, fewest=1)
    if k < 1 or temperature <= 0:
        raise ValueError(f"k is {k} and temperature {temperature}; k must be at least 1 and temperature above 0")

    def votes(distance_BK: NDArray[np.float32]) -> NDArray[np.float32]:
        # exp(cosine / tau) up to a factor a row shares, which no vote notices and which cannot overflow.
        return np.asarray(np.exp((distance_BK.min(1, keepdims=True) - distance_BK) / temperature))

    neighbors = KNeighborsClassifier(min(k, len(train_ND)), weights=votes, metric="cosine", algorithm="brute")
    return float(neighbors.fit(*_arrays(train)).score(*_arrays(test)))


def _arrays(samples: Features) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    return samples[0].float().numpy(), samples[1].numpy()


def _check(train: Features, test: Features, *, fewest: int) -> None:
    for x, labels in (train, test):
        if x.ndim != 2 or x.shape[1] != train[0].shape[-1] or labels.shape != x.shape[:1]:
            raise ValueError(
                f"features are {tuple(train[0].shape)} and {tuple(test[0].shape)}, labels {tuple(train[1].shape)} and"
                f" {tuple(test[1].shape)}; they must be [N, D], [M, D], [N] and [M]"
            )
    if len(train[0]) < fewest or len(test[0]) < 1:
        raise ValueError(f"{len(train[0])} training and {len(test[0])} test samples; needed are {fewest} and 1")
