"""Darts clock: derive cells for a budget, and where this machine is the device, ask the clock before training them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hardware_profiles import DeviceProfile, OnnxRunner, time_call, to_onnx_bytes
from search.cell_costs import CellCosts
from search.derive import Alphas, derive_within
from search.errors import InfeasibleBudget
from search.genotype import Genotype, from_document, to_document
from search.nets.cell import CELL
from search.types import Architecture
from zoo.errors import BudgetMissed
from zoo.progress import Say
from zoo.types import Try

SCHEMA, DERIVED = 1, "derived.json"
_TRIES = 4
# The artefact is timed once more when it is packaged; without a little room, noise would then undo the whole search.
_ROOM = 0.97


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Derived cells: the price of a millisecond, the table's estimate and, for the device here, the clock's time."""

    genotype: Genotype
    price: float
    predicted_ms: float
    measured_ms: float | None


def derive_by_clock(
    alphas: Alphas,
    costs: CellCosts,
    budget_ms: float,
    *,
    time_ms: Callable[[Genotype], float] | None,
    say: Say,
) -> Timed:
    """The cells that ``alphas`` stand for within a budget; where they are late, those for a tighter one.

    By the clock they take at most 97 % of the budget, or, where that cannot be had, at most all of it.

    Args:
        alphas: by role [14, 8].
        costs: of the device.
        budget_ms: the limit, in milliseconds.
        time_ms: times the network of a genotype; None where the device is not at hand.
        say: receives a line for each try.

    Raises:
        InfeasibleBudget: no cells meet the budget by the table.
        BudgetMissed: the table said yes and the clock said no.
    """
    costs.require(budget_ms)
    limit_ms, tries, just = budget_ms, list[Try](), None
    for _ in range(_TRIES):
        try:
            derived = derive_within(alphas, costs, limit_ms)
        except InfeasibleBudget:
            break
        predicted_ms = costs.network_ms(derived.genotype)
        measured_ms = None if time_ms is None else time_ms(derived.genotype)
        say(_line(predicted_ms, measured_ms, derived.price))
        timed = Timed(**vars(derived), predicted_ms=predicted_ms, measured_ms=measured_ms)
        if measured_ms is None or measured_ms <= _ROOM * budget_ms:
            return timed
        if just is None and measured_ms <= budget_ms:
            just = timed
        tries.append(_late(derived.genotype, costs, predicted_ms, measured_ms))
        limit_ms = predicted_ms * _ROOM * budget_ms / measured_ms
    if just is None:
        raise BudgetMissed(device_id="this machine", limit_ms=budget_ms, tries=tries)
    return just


def write_timed(timed: Timed, folder: Path) -> None:
    """Keep the decision in ``derived.json``."""
    document = {"schema": SCHEMA, **vars(timed), "genotype": to_document(timed.genotype)}
    temporary = folder / f".{DERIVED}.writing"
    temporary.write_text(json.dumps(document) + "\n", "utf-8")
    temporary.replace(folder / DERIVED)


def read_timed(folder: Path) -> Timed | None:
    """What ``write_timed`` kept; None where nothing was, or where it is damaged."""
    try:
        document = json.loads((folder / DERIVED).read_text("utf-8"))
        if document.pop("schema") != SCHEMA:
            return None
        return Timed(**{**document, "genotype": from_document(document["genotype"], DERIVED)[0]})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def time_here_ms(architecture: Architecture, device: DeviceProfile) -> float:
    """Median milliseconds of a network, weights as they are drawn, in ONNX Runtime on this machine."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = CELL.build(architecture).eval()
    shape = (device.batch, 3, architecture.resolution_px, architecture.resolution_px)
    images = {"input": np.random.default_rng(0).standard_normal(shape, dtype=np.float32)}
    with OnnxRunner(to_onnx_bytes(backbone, shape), threads=device.threads) as runner:
        return time_call(lambda: runner.run(images)).median_ms


def _late(genotype: Genotype, costs: CellCosts, predicted_ms: float, measured_ms: float) -> Try:
    size = {"cells": costs.cells, "channels": costs.channels, "resolution_px": costs.resolution_px}
    architecture = CELL.architecture(genotype, **size)
    return Try(architecture=architecture, score=0.0, predicted_ms=predicted_ms, measured_ms=measured_ms)


def _line(predicted_ms: float, measured_ms: float | None, price: float) -> str:
    rule = "by the paper's rule" if price == 0 else f"at {price:.3g} probability a millisecond"
    measured = "not timed here" if measured_ms is None else f"measured {measured_ms:.3f} ms"
    return f"derived {rule}: predicted {predicted_ms:.3f} ms, {measured}"
