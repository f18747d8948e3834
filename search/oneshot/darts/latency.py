"""DARTS latency: a latency table as NNI's profiler of cells, and what is expected of the cell that will be derived.

A mixed network computes all 14 edges of a cell, a derived one 8 of them, so the plain expectation over each edge's
softmax would be that of another network. Here each node draws two edges without replacement, in proportion to the
probability that they are not ``none``, and each of them its operation in proportion to the operations' probabilities.
For a cell that is decided (one operation on two edges a node, ``none`` on the others) this is the derived network's
estimate itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from nni.mutable import Categorical, MutableExpression
from nni.nas.profiler import ExpressionProfiler
from torch import Tensor

from search.cells.derive import CellCosts
from search.nets.genotype import EDGES, NODES, NONE, OPS, PRIMITIVES, ROLES
from search.oneshot.darts.space import LABELS

Distribution = dict[str, dict[str, Tensor]]
_TINY = 1e-9  # ms, against a division by 0


class CellProfiler(ExpressionProfiler):
    """Milliseconds of a network as an expression over the edges' choices, for ``ExpectationProfilerPenalty``."""

    def __init__(self, costs: CellCosts) -> None:
        total = costs.frame_ms
        for role in ROLES:
            for label, row_ms in zip(LABELS[role], costs.edges_ms[role].tolist(), strict=True):
                choice = Categorical(list(PRIMITIVES), label=label)
                total = total + MutableExpression.switch_case(choice, dict(zip(PRIMITIVES, row_ms, strict=True)))
        self.expression = total


def derived_distribution(probabilities: Mapping[str, Tensor]) -> Distribution:
    """What each edge of the derived cell may be, by label and operation; differentiable.

    Args:
        probabilities: by role [14, 8], the softmax of each edge's parameters.
    """
    distribution: Distribution = {}
    for role in ROLES:
        p_EO = probabilities[role]  # noqa: N806
        # Not 1 less the probability of none: where that is almost 1, what is left would be rounding.
        used_E = p_EO[:, 1:].sum(dim=1)  # noqa: N806
        for node in range(NODES):
            edges = [e for e, (to, _) in enumerate(EDGES) if to == node]
            for e, kept in zip(edges, _drawn_twice(used_E[edges]), strict=True):
                ops = p_EO[e, 1:] / used_E[e] * kept
                distribution[LABELS[role][e]] = {NONE: 1 - kept, **dict(zip(OPS, ops, strict=True))}
    return distribution


def _drawn_twice(weight_E: Tensor) -> Tensor:  # noqa: N803
    """Probability that each item is among two drawn without replacement in proportion to their weights, [E]."""
    weight_E = weight_E / weight_E.sum() + _TINY  # noqa: N806
    share_E = weight_E / weight_E.sum()  # noqa: N806
    odds_E = share_E / (1 - share_E)  # noqa: N806
    # First, or second after any other item was first.
    return share_E * (1 + odds_E.sum() - odds_E)
