"""Head: where a classifier's linear layer begins, for a random one would spoil the features while it learns.

Linear probing, then fine-tuning: Kumar et al., ICLR 2022 (arXiv:2202.10054), section 3.
"""

# ruff: noqa: N806 - a tensor's name ends in its shape.

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from search.evaluate.classifiers import best_linear
from search.labels.views import Views
from search.nets import Backbone

_MOST = 10_000  # pictures that are looked at
_BATCH = 64


@torch.no_grad()
def fit_head(
    backbone: Backbone, head: nn.Linear, views: Views, *, seed: int, progress: Callable[[int, int], None] | None = None
) -> None:
    """Let ``head`` begin as logistic regression on the features that training begins with, of one view a picture.

    Args:
        backbone: it sees batches in training mode, as the first steps do, and is left so.
        head: its weights are replaced; those of classes without a picture, and all where there is one class, stay.
        views: of the training pictures.
        seed: of the order.
        progress: called with (batches seen, batches in all).
    """
    order = np.random.default_rng(seed).permutation(len(views))[:_MOST].tolist()
    batches = [order[i : i + _BATCH] for i in range(0, len(order), _BATCH)]
    backbone.train()
    features: list[Tensor] = []
    labels: list[Tensor] = []
    for done, rows in enumerate(batches, 1):
        if len(rows) > 1:  # one picture alone cannot be normalized
            x_NCHW, targets = views.batch(0, rows)
            features.append(backbone(x_NCHW))
            labels.append(targets.labels_N)
        if progress is not None:
            progress(done, len(batches))
    labels_N = torch.cat([torch.empty(0, dtype=torch.long), *labels])
    if len(np.unique(labels_N.numpy())) < 2:
        return
    x_ND = torch.cat(features)
    if not bool(x_ND.isfinite().all()):  # which the loss of the first step will tell
        return
    scaler, regression = best_linear((x_ND, labels_N), seed=seed)
    weight_CD, bias_C = torch.from_numpy(regression.coef_), torch.from_numpy(regression.intercept_)
    if len(weight_CD) == 1:  # of two classes scikit-learn tells the difference
        weight_CD, bias_C = torch.cat([-weight_CD, weight_CD]) / 2, torch.cat([-bias_C, bias_C]) / 2
    weight_CD = weight_CD / torch.from_numpy(scaler.scale_)
    known = torch.from_numpy(regression.classes_)
    head.weight[known] = weight_CD.to(head.weight)
    head.bias[known] = (bias_C - weight_CD @ torch.from_numpy(scaler.mean_)).to(head.bias)
