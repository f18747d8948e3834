"""Cell costs: milliseconds that each operation on each edge adds to a network of given size on a device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import LatencyTable, block_ms
from search.errors import InfeasibleBudget, WrongTable
from search.nets.cell import CELL, edge_ops, frame_ops
from search.nets.genotype import EDGES, INPUTS, NODES, OPS, ROLES, Genotype
from search.types import Architecture


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
