"""Derive: from architecture parameters to a cell, by the paper's rule, within a budget where one is given.

Each intermediate node keeps the two edges whose best operation is the most probable, each with that operation; ``none``
takes its share of the softmax and is never chosen (Liu et al., DARTS, ICLR 2019, section 2.4; SSNAS, arXiv:2007.01500).
Probabilities are normalized per edge, so this is not the order of the raw parameters.

Within a budget an operation's strength is its probability less ``price`` times its milliseconds: at price 0 this is the
paper's rule, and the higher the price, the faster the cell, down to the fastest there is (a Lagrangian relaxation).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.cells.costs import CellCosts
from search.nets.genotype import EDGES, INPUTS, NODES, PRIMITIVES, ROLES, Genotype, Slot

# By role [14 edges, 8 operations], in the order of EDGES and PRIMITIVES.
Alphas = Mapping[str, NDArray[np.float64]]

_HALVINGS = 50


@dataclass(frozen=True, kw_only=True)
class Derived:
    """A cell, and the price in probability per millisecond that made it fit; 0 is the paper's rule alone."""

    genotype: Genotype
    price: float


def probabilities(alphas: Alphas) -> dict[str, NDArray[np.float64]]:
    """Softmax over each edge's operations, ``none`` included."""
    shifted = {role: np.exp(alphas[role] - alphas[role].max(axis=1, keepdims=True)) for role in ROLES}
    return {role: e / e.sum(axis=1, keepdims=True) for role, e in shifted.items()}


def derive(alphas: Alphas, costs: CellCosts | None = None, *, price: float = 0.0) -> Genotype:
    """The cell that ``alphas`` stand for.

    Args:
        alphas: by role [14, 8].
        costs: milliseconds of the operations, where ``price`` is not 0.
        price: probability that a millisecond is worth.
    """
    strengths = probabilities(alphas)
    if costs is not None and price:
        strengths = {role: strengths[role] - price * costs.edges_ms[role] for role in ROLES}
    return Genotype(normal=_cell(strengths["normal"]), reduce=_cell(strengths["reduce"]))


def derive_within(alphas: Alphas, costs: CellCosts, budget_ms: float) -> Derived:
    """The cell of the lowest price whose network takes at most ``budget_ms`` milliseconds.

    Raises:
        InfeasibleBudget: the fastest cell takes longer.
    """
    costs.require(budget_ms)
    low, high = 0.0, 1e-6
    if costs.network_ms(derive(alphas)) <= budget_ms:
        return Derived(genotype=derive(alphas), price=0.0)
    while costs.network_ms(derive(alphas, costs, price=high)) > budget_ms:
        low, high = high, 2 * high  # ends: at a high price only milliseconds count, and the fastest cell fits
        if not np.isfinite(high):
            return Derived(genotype=costs.fastest, price=np.inf)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if costs.network_ms(derive(alphas, costs, price=middle)) <= budget_ms:
            high = middle
        else:
            low = middle
    return Derived(genotype=derive(alphas, costs, price=high), price=high)


def _cell(strength_eo: NDArray[np.float64]) -> tuple[Slot, ...]:
    """Of equally strong ones, the first operation and the lowest input win."""
    slots: list[Slot] = []
    for node in range(NODES):
        edges = [(e, source) for e, (to, source) in enumerate(EDGES) if to == node]
        best = {e: 1 + int(strength_eo[e, 1:].argmax()) for e, _ in edges}
        kept = sorted(edges, key=lambda edge: -strength_eo[edge[0], best[edge[0]]])[:INPUTS]
        slots += [(PRIMITIVES[best[e]], source) for e, source in sorted(kept)]
    return tuple(slots)
