"""Curve: the losses of a training in a few dozen numbers, for the supernet's card."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

METRICS = "metrics.csv"
POINTS = 40  # a curve's shape, in a card of some kB
_PREFIX = "loss_"


def loss_curve(metrics: Path, points: int = POINTS) -> dict[str, Any]:
    """Mean losses of equal stretches of steps.

    Args:
        metrics: the CSV file of a training, with ``step`` and columns that begin with ``loss_``.
        points: stretches, at most; the last one may be shorter.

    Returns:
        ``columns``, ``rows`` of a stretch's last step and its mean losses, and a ``note`` on their length; a loss that
        has no value in a stretch is None.

    Raises:
        OSError: the file cannot be read.
    """
    with metrics.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    losses = [name for name in (lines[0] if lines else {}) if name.startswith(_PREFIX)]
    length = max(1, -(-len(lines) // points))
    rows = []
    for begin in range(0, len(lines), length):
        part = lines[begin : begin + length]
        rows.append([int(part[-1]["step"]), *(_mean([line[name] for line in part]) for name in losses)])
    return {"columns": ["step", *losses], "note": f"means of {length} steps", "rows": rows}


def _mean(values: list[str]) -> float | None:
    known = [float(value) for value in values if value]
    return round(sum(known) / len(known), 4) if known else None
