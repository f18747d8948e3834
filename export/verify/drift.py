"""Drift: how far calibration images are from the images whose statistics a network holds.

Batch normalization knows the mean and variance of each channel over the images that the network was recalibrated on.
Images of another kind move those means; int8 ranges measured on them would be those of another network.
"""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

# Other images of the same set measured 0.02 to 0.09, other sets 0.10 to 0.87 (8 sets; benchmarks/drift.py).
MOST = 0.1
# A network that was trained on labels holds the statistics of augmented views: its own images measured 0.17 to 0.20,
# other sets 0.26 to 0.78 (a detector and a classifier, 8 sets).
MOST_TRAINED = 0.25
_BATCH = 32


def measure_drift(module: nn.Module, images_NCHW: Tensor) -> float | None:
    """Return how far the images move the channels' means, in standard deviations: mean over channels, then layers.

    Args:
        module: in eval mode; nothing of it changes.
        images_NCHW: preprocessed images.

    Returns:
        None for a network without batch normalization.
    """
    probed = copy.deepcopy(module).to("cpu", torch.float32)
    norms = [part for part in probed.modules() if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None]
    sums = {norm: torch.zeros(norm.num_features, dtype=torch.float64) for norm in norms}
    seen = dict.fromkeys(norms, 0)

    def add(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        sums[norm] += inputs[0].double().mean((2, 3)).sum(0)
        seen[norm] += len(inputs[0])

    for norm in norms:
        norm.register_forward_pre_hook(add)
    with torch.inference_mode():
        for batch_NCHW in torch.split(images_NCHW, _BATCH):
            probed(batch_NCHW)
    moved = [_moved(norm, sums[norm] / seen[norm]) for norm in norms if seen[norm]]
    return sum(moved) / len(moved) if moved else None


def _moved(norm: nn.BatchNorm2d, mean_C: Tensor) -> float:
    assert norm.running_mean is not None and norm.running_var is not None
    std_C = (norm.running_var.double() + norm.eps).sqrt()
    return float(((mean_C - norm.running_mean.double()).abs() / std_C).mean())
