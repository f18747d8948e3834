"""NT-Xent, the loss of SimCLR: of all views in a batch, an image's other view is the nearest.

Chen et al., ICML 2020 (arXiv:2002.05709), equation 1, mean over all 2N views; SSNAS (Kaplan and Giryes,
arXiv:2007.01500) searches cells with it.

Symbols: N images, D features of a projection; rows i and N + i are the two views of image i.
"""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def nt_xent(z_2ND: Tensor, temperature: float) -> Tensor:
    """``-log(exp(cos(z_i, z_j) / t) / sum_{k != i} exp(cos(z_i, z_k) / t))``, j being the other view of i; a scalar.

    Args:
        z_2ND: projections, of any length, of the first views of N images and then of their second views.
        temperature: t.

    Raises:
        ValueError: an odd number of rows, or fewer than two images.

    Example:
        >>> z = torch.eye(4).repeat(2, 1)
        >>> float(nt_xent(z, 0.01)) < 1e-6  # views agree, images do not
        True
    """
    if len(z_2ND) % 2 or len(z_2ND) < 4:
        raise ValueError(f"{len(z_2ND)} projections; two views of at least 2 images are needed")
    # In fp32, because the temperature multiplies rounding; a view is never compared with itself.
    with torch.autocast(z_2ND.device.type, enabled=False):
        z_2ND = F.normalize(z_2ND.float(), dim=1)
        logits = (z_2ND @ z_2ND.T / temperature).fill_diagonal_(-torch.inf)
        count = len(z_2ND)
        other = (torch.arange(count, device=z_2ND.device) + count // 2) % count
        return F.cross_entropy(logits, other)
