"""Latency: a device's table as an NNI profiler, a symbolic expression over the labels of a model space.

The one object serves as NNI's filter of sampled networks (``RangeProfilerFilter``) and, over the probabilities of a
differentiable search, as its penalty (``ExpectationProfilerPenalty``): the expectation of a sum of table look-ups is
the sum of their expectations (FBNet, Wu et al., CVPR 2019, section 3.3; ProxylessNAS, Cai et al., ICLR 2019, section
3.2.1).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from nni.mutable import MutableExpression
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.profiler import ExpressionProfiler

from hardware_profiles import LatencyTable, part_ms
from search.errors import WrongTable
from search.nets import Net, Part
from search.oneshot.space import option_of

# The numbers under some labels, and what they cost.
Row = tuple[Mapping[str, int], float]


class TableProfiler(ExpressionProfiler):
    """Milliseconds of any sample of a space; what ``hardware_profiles.estimate_ms`` says of its network.

    Args:
        space: the model space of ``net``, whose labels the samples are about.
        net: the family.
        table: its latency table on a device.

    Raises:
        WrongTable: the table is of another net.
        MissingOp: the table lacks a block of the net.
    """

    def __init__(self, space: ModelSpace, net: Net, table: LatencyTable) -> None:
        if table.net != net.name:
            raise WrongTable(f"the table of {table.device.id} is of net {table.net!r}, not {net.name!r}; measure that")
        super().__init__(space)
        known = space.simplify()
        self.expression: MutableExpression[float] | float = table.overhead_ms
        for part in net.parts(table.resolution_px):
            self.expression = self.expression + _switch(_rows(net, part, table), known)


def _rows(net: Net, part: Part, table: LatencyTable) -> list[Row]:
    """What each combination of a part's choices costs, by the labels on which the part depends."""
    network = net.smallest(table.resolution_px)
    choices = list(network.choices)
    values = []
    for chosen in itertools.product(*(net.space[i].options for i in part.choices)):
        for i, option in zip(part.choices, chosen, strict=True):
            choices[i] = option
        values.append(net.values(replace(network, choices=tuple(choices))))
    labels = [label for label in values[0] if len({value[label] for value in values}) > 1]
    costs = part_ms(table, part.ops)
    return [({label: value[label] for label in labels}, float(ms)) for value, ms in zip(values, costs, strict=True)]


def _switch(rows: Sequence[Row], known: Mapping[str, Any]) -> Any:
    """The cost as nested cases over the labels; whether a block is used comes first, for then nothing else matters."""
    labels = sorted(rows[0][0], key=lambda label: not label.endswith(".used"))
    if len(rows) == 1 or not labels:
        return rows[0][1]
    first = labels[0]
    cases: dict[Any, list[Row]] = {}
    for values, ms in rows:
        rest = {label: value for label, value in values.items() if label != first}
        cases.setdefault(option_of(first, values[first]), []).append((rest, ms))
    return MutableExpression.switch_case(known[first], {option: _switch(case, known) for option, case in cases.items()})
