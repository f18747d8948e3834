"""Projector: the small network behind a backbone whose output the objectives compare."""

from __future__ import annotations

from torch import nn


def projector_of(c_in: int, hidden_dim: int, dim: int, *, norm: bool = True) -> nn.Sequential:
    """MoCo v2's projection head with the normalized hidden layer of MoCo v3: [B, c_in] -> [B, dim].

    Without ``norm``, as in MoCo v2, a short training hardly leaves the one direction that untrained networks give all
    images.
    """
    if not norm:
        return nn.Sequential(nn.Linear(c_in, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, dim))
    return nn.Sequential(
        nn.Linear(c_in, hidden_dim, bias=False), nn.BatchNorm1d(hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, dim)
    )
