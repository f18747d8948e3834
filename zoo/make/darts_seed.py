"""Darts seed: one search of cells, its derived network confirmed by the clock, trained for a while, and judged."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from hardware_profiles import DeviceProfile, OnnxRunner, time_call, to_onnx_bytes
from hardware_profiles.plain_text import read_plain_json
from hardware_profiles.replace_file import replace_file
from search.cells.derive import Alphas, CellCosts, derive_within
from search.cells.log import complaint
from search.cells.recipe import DartsRecipe, single
from search.errors import InfeasibleBudget
from search.first import is_first
from search.nets.cell import CELL
from search.nets.genotype import Genotype, Origin, from_document, to_document, write_genotype
from search.running import ALONE, Running
from search.types import Architecture
from zoo.devices.tables import Table
from zoo.errors import BudgetMissed, MissingExtra
from zoo.types import Progress, Say, Try, stage

if TYPE_CHECKING:
    from torch import Tensor

    from search.oneshot.darts.search import Found

GENOTYPE, NETWORK = "genotype.json", "network"
_PASSES = 4  # over the held-out images: they are few, and their loss chooses


@dataclass(frozen=True, kw_only=True)
class Job:
    """What all seeds share.

    Args:
        recipe: of the search.
        cells: depth of the network that is delivered.
        channels: of its first cell.
        resolution_px: side of its input.
        budget_ms: what it may take, where there is a budget.
        folder: name of the images' folder.
        terms: on which the images may be used.
    """

    recipe: DartsRecipe
    cells: int
    channels: int
    resolution_px: int
    budget_ms: float | None
    folder: str
    terms: str

    def architecture(self, genotype: Genotype) -> Architecture:
        """The network to deliver."""
        return CELL.architecture(genotype, cells=self.cells, channels=self.channels, resolution_px=self.resolution_px)

    def origin(self, seed: Seed) -> Origin:
        """What a genotype's file says of its search."""
        return Origin(
            images=self.folder,
            terms=self.terms,
            strategy=self.recipe.strategy,
            epochs=seed.epoch + 1,
            seed=seed.seed,
            held_out_loss=seed.held_out_loss,
        )


@dataclass(frozen=True, kw_only=True)
class Seed:
    """What one seed gave.

    Args:
        seed: its number.
        genotype: the cells.
        epoch: after which they were derived.
        price: of a millisecond when they were derived; 0 is the paper's rule alone.
        reason: why not after the last epoch, or why they are doubtful.
        predicted_ms: by the table.
        measured_ms: by the clock, where the device is this machine.
        held_out_loss: of the derived network after its short training; the lowest is chosen.
        folder: its log, checkpoint and trained network.
    """

    seed: int
    genotype: Genotype
    epoch: int
    price: float
    reason: str | None
    predicted_ms: float
    measured_ms: float | None
    held_out_loss: float
    folder: Path


def run_seed(
    job: Job,
    pixels: Tensor,
    folder: Path,
    *,
    table: Table,
    costs: CellCosts,
    running: Running = ALONE,
    progress: Progress,
    say: Say,
) -> Seed:
    """Search, derive, train, judge; what is in ``folder`` already is not done again.

    Args:
        job: what to do; the recipe's seed is this one's.
        pixels: uint8 [N, 3, S, S].
        folder: for the search's log and checkpoint, ``genotype.json`` and the trained network.
        table: of the device.
        costs: from that table.
        running: on which devices; the first process derives, by the clock too, and the others read what it did.
        progress: called with (stage, done, all).
        say: receives one line for each thing that happened.

    Raises:
        MissingExtra: the training libraries are not installed.
        TrainingError: too few or too small images, another run's checkpoint, or a loss that is not finite.
        BudgetMissed: the table said yes and the clock said no.
    """
    try:
        from search import ranks
        from search.oneshot.darts.search import search_cells
    except ModuleNotFoundError as error:
        raise MissingExtra(f'a search of cells needs {error.name}; pip install "subnet-zoo[search]"') from None
    seed = job.recipe.seed
    say(f"seed {seed}: {job.recipe.epochs} epochs of {job.recipe.strategy}")
    found = search_cells(
        job.recipe,
        pixels,
        folder,
        costs=costs,
        budget_ms=job.budget_ms,
        running=running,
        resume=True,
        progress=stage(progress, f"seed {seed}"),
        say=say,
    )
    timed = read_timed(folder)  # the clock may not say the same twice, and the network may be trained already
    ranks.wait()
    if timed is None and is_first():
        timed = _derived(job, found, table, costs, say)
        write_timed(timed, folder)
    ranks.wait()
    timed = timed or read_timed(folder)
    assert timed is not None
    reason = found.reason
    if reason is None and timed.price and (wrong := complaint(timed.genotype, job.recipe)):
        reason = f"within {job.budget_ms:g} ms {wrong}"
    if reason is not None:
        say(reason)
    loss = _judged(job, timed.genotype, pixels, folder / NETWORK, running, progress)
    one = Seed(**vars(timed), seed=seed, epoch=found.epoch, reason=reason, held_out_loss=loss, folder=folder)
    if is_first():
        write_genotype(one.genotype, folder / GENOTYPE, job.origin(one))
    say(f"seed {seed}: held-out loss {loss:.4f}; {timed.genotype}")
    return one


def _derived(job: Job, found: Found, table: Table, costs: CellCosts, say: Say) -> Timed:
    clock = _clock(job, table) if table.here else None
    if job.budget_ms is not None:
        return derive_by_clock(found.log[found.epoch].by_role, costs, job.budget_ms, time_ms=clock, say=say)
    return Timed(
        genotype=found.genotype,
        price=0.0,
        predicted_ms=costs.network_ms(found.genotype),
        measured_ms=None if clock is None else clock(found.genotype),
    )


def _clock(job: Job, table: Table) -> Callable[[Genotype], float]:
    return lambda genotype: time_here_ms(job.architecture(genotype), table.latencies.device)


def _judged(job: Job, genotype: Genotype, pixels: Tensor, folder: Path, running: Running, progress: Progress) -> float:
    """Train the derived network on what may train it; its contrastive loss on the rest."""
    from torch import channels_last, nn

    from search.oneshot.darts.loss import held_out_loss
    from search.oneshot.darts.space import halves
    from search.oneshot.pretrain import pretrain

    recipe, parts = job.recipe, halves(pixels, job.recipe)
    size = {"cells": job.cells, "channels": job.channels, "resolution_px": job.resolution_px}
    training = single(genotype, **size, epochs=recipe.selection_epochs, seed=recipe.seed)
    training = replace(training, batch=recipe.batch, temperature=recipe.temperature, norm_groups=recipe.norm_groups)
    name, found = f"cell-simclr-seed{recipe.seed}", f"found by {recipe.strategy}, seed {recipe.seed}"
    data = {"folder": job.folder, "terms": job.terms, "cells": f"{found}, on the same images"}
    told = stage(progress, "train")
    network = pretrain(training, parts.both, folder, name=name, data=data, running=running, resume=True, progress=told)
    backbone = network.subnet(job.architecture(genotype))
    trained = nn.Sequential(backbone, network.projector(backbone.embedding_dim)).to(memory_format=channels_last)
    return held_out_loss(
        trained, parts.held_out, training.views, batch=recipe.batch, temperature=recipe.temperature, passes=_PASSES
    )


SCHEMA, DERIVED = 1, "derived.json"
_TRIES = 4  # as ``confirm.MAX_TRIES``
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
    replace_file(folder / DERIVED, json.dumps(document) + "\n")


def read_timed(folder: Path) -> Timed | None:
    """What ``write_timed`` kept; None where nothing was, or where it is damaged."""
    try:
        document = read_plain_json((folder / DERIVED).read_bytes())
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
