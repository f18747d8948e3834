"""Accuracy of a linear classifier on frozen features: multinomial regression with an L2 penalty.

On standardized features x it minimizes mean(-log softmax(W'x + b)[label]) + decay * |W|^2, which has one solution, by
L-BFGS. Pooled features are strongly correlated, and L-BFGS would need hundreds of steps; so the problem is turned to
the features' principal axes, which changes neither penalty nor solution, and each axis is scaled by the curvature that
a uniform guess has along it.

Reference: Kornblith et al. 2019, Do Better ImageNet Models Transfer Better? (arXiv:1805.08974), appendix A.1, who
choose the penalty on held-out training images as well; Boehning 1992 for the curvature.

Symbols: N training and M test samples, D features, K principal axes, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

# ruff: noqa: N803, N806, N815 - a tensor's name ends in its shape.


# From strong to weak, a decade apart: each fit starts from the one before it.
DECAYS = (1.0, 1e-1, 1e-2, 1e-3)
_HELD_OUT = 0.1
_MAX_STEPS = 200

Features = tuple[Tensor, Tensor]
"""Features [N, D] and their labels [N], integers from 0."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Linear:
    """A fitted classifier: scores are ``(x - mean_D) / scale_D @ weight_DC + bias_C``."""

    mean_D: Tensor
    scale_D: Tensor
    weight_DC: Tensor
    bias_C: Tensor
    decay: float

    def __call__(self, x_ND: Tensor) -> Tensor:
        """Scores of samples [N, D] -> [N, C]."""
        return torch.addmm(self.bias_C, (x_ND.float() - self.mean_D) / self.scale_D, self.weight_DC)

    def accuracy(self, x_ND: Tensor, labels_N: Tensor) -> float:
        """Share of samples, 0..1, whose label has the highest score."""
        return float((self(x_ND).argmax(dim=1) == labels_N).double().mean())


def linear_accuracy(
    train_ND: Tensor, train_labels_N: Tensor, test_MD: Tensor, test_labels_M: Tensor, *, seed: int = 0
) -> float:
    """Share of test samples that a linear classifier of the training samples gets right.

    The penalty is chosen on a tenth of the training samples, drawn from ``seed``; the classifier is then fitted to all
    of them. The test samples choose nothing.

    Args:
        train_ND: features of the labelled samples, any scale; pooled features, not a projector's.
        train_labels_N: their classes, integers from 0.
        test_MD: features of the samples to classify, from the same preprocessing.
        test_labels_M: their classes.
        seed: of the tenth.

    Returns:
        Accuracy, 0..1.

    Raises:
        ValueError: the shapes do not fit each other, or there are fewer than 2 training samples or no test sample.

    Example:
        >>> x, y = torch.eye(4).repeat(10, 1), torch.arange(4).repeat(10)
        >>> linear_accuracy(x, y, x, y)
        1.0
    """
    _check((train_ND, train_labels_N), (test_MD, test_labels_M))
    classes = int(torch.maximum(train_labels_N.max(), test_labels_M.max())) + 1
    order = torch.randperm(len(train_ND), generator=torch.Generator().manual_seed(seed))
    held_out, rest = order.tensor_split([max(1, round(_HELD_OUT * len(order)))])
    parts = [(train_ND[rows], train_labels_N[rows]) for rows in (rest, held_out)]
    chosen = best_linear(parts[0], parts[1], classes=classes)
    return fit_linear((train_ND, train_labels_N), chosen.decay, classes=classes).accuracy(test_MD, test_labels_M)


def best_linear(train: Features, validation: Features, *, classes: int, decays: Sequence[float] = DECAYS) -> Linear:
    """The classifier of ``train`` with the penalty that does best on ``validation``; of equal ones the strongest.

    Args:
        train: features [N, D] and labels [N].
        validation: features and labels that no classifier is fitted to.
        classes: C; labels are below it.
        decays: penalties, strong to weak; once the accuracy falls, weaker ones are not tried.
    """
    problem = _Problem(*train, classes)
    found: list[tuple[float, Linear]] = []
    for decay in decays:
        fitted = problem.solve(decay)
        accuracy = fitted.accuracy(*validation)
        if found and accuracy < found[-1][0]:
            break
        found.append((accuracy, fitted))
    return max(found, key=lambda pair: pair[0])[1]


def fit_linear(train: Features, decay: float, *, classes: int) -> Linear:
    """The classifier of samples [N, D] and labels [N], integers below ``classes``, with one penalty above 0."""
    return _Problem(*train, classes).solve(decay)


class _Problem:
    """Standardized samples on their principal axes; every solution starts from the one before it."""

    def __init__(self, x_ND: Tensor, labels_N: Tensor, classes: int) -> None:
        x_ND = x_ND.float()
        self._labels_N, self._classes = labels_N, classes
        self._mean_D, self._scale_D = x_ND.mean(dim=0), x_ND.std(dim=0, correction=0) + 1e-6
        x_ND = (x_ND - self._mean_D) / self._scale_D
        self._variance_K, self._axes_DK = _principal_axes(x_ND)
        self._x_NK = x_ND @ self._axes_DK
        self._weight_KC = x_ND.new_zeros(len(self._variance_K), classes)
        self._bias_C = x_ND.new_zeros(classes)

    def solve(self, decay: float) -> Linear:
        if decay <= 0:
            raise ValueError(f"decay is {decay}; it must be above 0, or there may be no solution")
        scale_K1 = (self._variance_K / self._classes + 2 * decay).rsqrt()[:, None]
        z_KC = (self._weight_KC / scale_K1).requires_grad_()
        bias_C = self._bias_C.clone().requires_grad_()
        optimizer = torch.optim.LBFGS(
            [z_KC, bias_C],
            max_iter=_MAX_STEPS,
            tolerance_grad=1e-5,
            tolerance_change=1e-7,
            line_search_fn="strong_wolfe",
        )

        def loss() -> Tensor:
            optimizer.zero_grad()
            weight_KC = scale_K1 * z_KC
            value = F.cross_entropy(torch.addmm(bias_C, self._x_NK, weight_KC), self._labels_N)
            value = value + decay * weight_KC.square().sum()
            value.backward()  # type: ignore[no-untyped-call]
            return value

        optimizer.step(loss)  # type: ignore[no-untyped-call]
        self._weight_KC, self._bias_C = (scale_K1 * z_KC).detach(), bias_C.detach()
        return Linear(
            mean_D=self._mean_D,
            scale_D=self._scale_D,
            weight_DC=self._axes_DK @ self._weight_KC,
            bias_C=self._bias_C,
            decay=decay,
        )


def _principal_axes(x_ND: Tensor) -> tuple[Tensor, Tensor]:
    """Variance along each axis, and the axes; where samples are fewer than features, those that they span."""
    if len(x_ND) < x_ND.shape[1]:
        _, sigma_K, axes_KD = torch.linalg.svd(x_ND, full_matrices=False)
        return sigma_K.square() / len(x_ND), axes_KD.T
    variance_K, axes_DK = torch.linalg.eigh(x_ND.T @ x_ND / len(x_ND))
    return variance_K.clamp(min=0), axes_DK


def _check(train: Features, test: Features) -> None:
    for x, labels in (train, test):
        if x.ndim != 2 or x.shape[1] != train[0].shape[1] or labels.shape != x.shape[:1]:
            raise ValueError(
                f"features are {tuple(train[0].shape)} and {tuple(test[0].shape)}, labels {tuple(train[1].shape)} and"
                f" {tuple(test[1].shape)}; they must be [N, D], [M, D], [N] and [M]"
            )
    if len(train[0]) < 2 or len(test[0]) < 1:
        raise ValueError(f"{len(train[0])} training and {len(test[0])} test samples; needed are at least 2 and 1")


# ruff: noqa: N803, N806 - a tensor's name ends in its shape.


_CHUNK_BYTES = 64 * 2**20


@torch.no_grad()
def knn_accuracy(
    train_ND: Tensor,
    train_labels_N: Tensor,
    test_MD: Tensor,
    test_labels_M: Tensor,
    *,
    k: int = 200,
    temperature: float = 0.1,
) -> float:
    """Share of test samples whose label wins the vote of their neighbors.

    Args:
        train_ND: features of the labelled samples, any scale; pooled features, not a projector's.
        train_labels_N: their classes, integers from 0.
        test_MD: features of the samples to classify, from the same preprocessing.
        test_labels_M: their classes.
        k: neighbors that vote; all N where there are fewer.
        temperature: tau; the smaller, the more the nearest count.

    Returns:
        Accuracy, 0..1.

    Raises:
        ValueError: the shapes do not fit each other, or there is nothing to compare.

    Example:
        >>> x, y = torch.eye(4), torch.arange(4)
        >>> knn_accuracy(x, y, x, y, k=1)
        1.0
    """
    _check_knn(train_ND, train_labels_N, test_MD, test_labels_M, k, temperature)
    k = min(k, len(train_ND))
    classes = int(torch.maximum(train_labels_N.max(), test_labels_M.max())) + 1
    train_DN = F.normalize(train_ND.float(), dim=1).T.contiguous()
    chunk = max(1, _CHUNK_BYTES // (4 * len(train_ND)))
    correct = 0
    for x_BD, y_B in zip(torch.split(test_MD, chunk), torch.split(test_labels_M, chunk), strict=True):
        similarity_BK, index_BK = (F.normalize(x_BD.float(), dim=1) @ train_DN).topk(k, dim=1)
        # exp(s / tau) up to a factor a row shares, which no vote notices and which cannot overflow.
        weight_BK = ((similarity_BK - similarity_BK[:, :1]) / temperature).exp()
        votes_BC = weight_BK.new_zeros(len(x_BD), classes).scatter_add_(1, train_labels_N[index_BK], weight_BK)
        correct += int((votes_BC.argmax(dim=1) == y_B).sum())
    return correct / len(test_MD)


def _check_knn(
    train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, k: int, temperature: float
) -> None:
    if train.ndim != 2 or test.ndim != 2 or train.shape[1] != test.shape[1]:
        raise ValueError(f"features are {tuple(train.shape)} and {tuple(test.shape)}; they must be [N, D] and [M, D]")
    if train_labels.shape != train.shape[:1] or test_labels.shape != test.shape[:1]:
        raise ValueError(
            f"{tuple(train_labels.shape)} and {tuple(test_labels.shape)} labels for {len(train)} and {len(test)}"
            " samples; each sample needs one"
        )
    if len(train) == 0 or len(test) == 0:
        raise ValueError(f"{len(train)} training and {len(test)} test samples; both must be at least 1")
    if k < 1 or temperature <= 0:
        raise ValueError(f"k is {k} and temperature {temperature}; k must be at least 1 and temperature above 0")
