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

from hardware_profiles import LatencyTable, block_ms
from search.errors import InfeasibleBudget, WrongTable
from search.nets.cell import CELL, edge_ops, frame_ops
from search.nets.genotype import EDGES, INPUTS, NODES, OPS, PRIMITIVES, ROLES, Genotype, Slot
from search.types import Architecture

# By role [14 edges, 8 operations], in the order of EDGES and PRIMITIVES.
Alphas = Mapping[str, NDArray[np.float64]]

_HALVINGS = 50  # of an interval of prices: below a rounding of float64


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


@dataclass(frozen=True, kw_only=True, eq=False)
class CellCosts:
    """Of all networks that stack ``cells`` cells, the first one with ``channels``.

    Args:
        frame_ms: what each of them takes, whatever its cells are: overhead, stem, preparing the cells' inputs.
        edges_ms: by role [14, 8], the milliseconds that an operation on an edge adds in all cells of the role together,
            in the order of ``EDGES`` and ``PRIMITIVES``; ``none`` adds nothing.
        cells: depth.
        channels: width.
        resolution_px: side of the input, in pixels.
    """

    frame_ms: float
    edges_ms: Mapping[str, NDArray[np.float64]]
    cells: int
    channels: int
    resolution_px: int

    def network_ms(self, genotype: Genotype) -> float:
        """What the table estimates for the network made of these cells."""
        total = self.frame_ms
        for role in ROLES:
            for i, (op, source) in enumerate(genotype.slots(role)):
                total += float(self.edges_ms[role][EDGES.index((i // INPUTS, source)), 1 + OPS.index(op)])
        return total

    @property
    def fastest(self) -> Genotype:
        """The cells that take the least."""
        return Genotype(**{role: self._fastest(role) for role in ROLES})

    def require(self, budget_ms: float) -> None:
        """Raise InfeasibleBudget where not even the fastest cells meet the budget."""
        reachable = self.network_ms(self.fastest)
        if reachable > budget_ms:
            raise InfeasibleBudget(asked=budget_ms, reachable=reachable, unit="ms", nearest=self._architecture())

    def _fastest(self, role: str) -> tuple[tuple[str, int], ...]:
        slots: list[tuple[str, int]] = []
        for node in range(NODES):
            edges = [e for e, (to, _) in enumerate(EDGES) if to == node]
            least = sorted(edges, key=lambda e: self.edges_ms[role][e, 1:].min())[:INPUTS]
            slots += [(OPS[int(self.edges_ms[role][e, 1:].argmin())], EDGES[e][1]) for e in sorted(least)]
        return tuple(slots)

    def _architecture(self) -> Architecture:
        return CELL.architecture(
            self.fastest, cells=self.cells, channels=self.channels, resolution_px=self.resolution_px
        )


def cell_costs(table: LatencyTable, *, cells: int, channels: int) -> CellCosts:
    """Look every operation up.

    Args:
        table: of the net ``cell``; the resolution is the table's.
        cells: depth of the networks.
        channels: width of their first cell.

    Raises:
        WrongTable: the table is of another net.
        MissingOp: it lacks a block of these networks.
    """
    if table.net != CELL.name:
        raise WrongTable(f"the table of {table.device.id} is of net {table.net!r}; measure cell")
    px = table.resolution_px
    edges_ms = {role: np.zeros((len(EDGES), 1 + len(OPS))) for role in ROLES}
    for role in ROLES:
        for e, (_, source) in enumerate(EDGES):
            for o, op in enumerate(OPS, start=1):
                edges_ms[role][e, o] = block_ms(table, edge_ops(px, cells, channels, role, source, op)).sum()
    frame_ms = table.overhead_ms + float(block_ms(table, frame_ops(px, cells, channels)).sum())
    return CellCosts(frame_ms=frame_ms, edges_ms=edges_ms, cells=cells, channels=channels, resolution_px=px)
