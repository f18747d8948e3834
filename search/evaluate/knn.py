"""Weighted k-nearest-neighbor accuracy of frozen features.

Each of the k training samples nearest in cosine similarity ``s`` votes for its label with weight ``exp(s / tau)``.

Reference: Wu et al. 2018, Unsupervised Feature Learning via Non-Parametric Instance Discrimination
(arXiv:1805.01978), section 3.4; k = 200 and tau = 0.1 as usual since for networks of this size.

Symbols: N training and M test samples, D features, B test samples a chunk, K neighbors.
"""
# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

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
    _check(train_ND, train_labels_N, test_MD, test_labels_M, k, temperature)
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


def _check(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, k: int, temperature: float) -> None:
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
