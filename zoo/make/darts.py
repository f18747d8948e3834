"""Darts: from a folder of unlabelled images to a network of cells that were searched for them, packaged.

The seed whose network has the lowest contrastive loss on images that nothing was trained on is packaged (SSNAS,
arXiv:2007.01500, section 4: chosen without labels).
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from hardware_profiles import count_compute
from hardware_profiles.replace_file import replace_file
from search.cells.derive import cell_costs
from search.cells.recipe import PRESETS, DartsRecipe
from search.errors import BadArchitecture
from search.first import is_first
from search.images.read import read_images
from search.nets.cell import CELL
from search.nets.genotype import Genotype, random_genotype, read_genotype, read_origin, to_document, write_genotype
from search.running import ALONE, Running
from search.supernet import Supernet, save_supernet
from search.types import Architecture, Budget
from zoo.checks import Count, Threads
from zoo.devices.tables import table_for
from zoo.errors import BadRecipe, MissingExtra, OutputExists
from zoo.make.darts_seed import GENOTYPE, NETWORK, Job, Seed, run_seed
from zoo.make.search import Made, search
from zoo.names import format_budget
from zoo.package.staging import check_free
from zoo.plots import plot_cell
from zoo.progress import Watch, watching
from zoo.types import Say, stage, tell

RESULT, PICTURES = "darts.json", ("cell.png", "cell.svg")
SCHEMA = 1
_MARK = "seeds"
# Crops are cut from images this many times larger than the deployed network's input.
_OVERSIZE = 2


@dataclass(frozen=True, kw_only=True)
class Discovered:
    """All seeds, the chosen one, and its package."""

    seeds: tuple[Seed, ...]
    chosen: Seed
    made: Made


def darts(
    images: str | Path,
    out: str | Path,
    *,
    recipe: DartsRecipe,
    seeds: Count = 4,
    device: str = "this",
    budget: Budget | None = None,
    cells: Count | None = None,
    channels: Count | None = None,
    resolution_px: Count = 32,
    threads: Threads | None = None,
    terms: str = "not stated",
    running: Running = ALONE,
    resume: bool = False,
    overwrite: bool = False,
    progress: Watch = "auto",
    say: Say = tell,
) -> Discovered:
    """Search cells for a folder of images, choose among the seeds, package the network.

    Args:
        images: the folder; no labels are needed.
        out: a folder for ``genotype.json``, ``cell.png``, ``cell.svg``, ``darts.json``, ``seeds/`` and ``package/``.
        recipe: of the search; seeds count on from its own.
        seeds: how many searches.
        device: whose milliseconds count.
        budget: in milliseconds; None searches without one.
        cells: depth of the delivered network; None takes the searched one's.
        channels: its width; None takes the searched one's.
        resolution_px: side of its input.
        threads: of the runtime on this machine.
        terms: on which the images may be used, for the card.
        running: devices that share each search and each training; each normalizes its share of a batch apart, unless
            the recipe says otherwise. The first process packages; the others end before that.
        resume: go on with an interrupted run in ``out``.
        overwrite: delete an earlier run in ``out`` first.
        progress: ``auto`` (bars or lines, as fits), None, or a function called with (stage, done, all).
        say: receives one line for each thing that happened.

    Raises:
        OutputExists: ``out`` is not empty, and neither ``resume`` nor ``overwrite`` is given.
        BadRecipe: fewer than one seed, a size that the net does not have, or a budget that is not in milliseconds.
        InfeasibleBudget: no cells meet the budget.
        MissingTable: the device has no table of the net ``cell``.
        TrainingError: too few or too small images, or a loss that is not finite.
        MissingExtra: the training libraries are not installed.
    """
    progress = watching(progress)
    images, out = Path(images), Path(out)
    recipe = _shared(recipe, running)
    job = Job(
        recipe=recipe,
        cells=cells or recipe.cells,
        channels=channels or recipe.channels,
        resolution_px=resolution_px,
        budget_ms=_milliseconds(budget),
        folder=images.resolve().name,
        terms=terms,
    )
    if seeds < 1:
        raise BadRecipe(f"{seeds} seeds are no search; ask for at least 1")
    _sized(random_genotype(np.random.default_rng(0)), job.cells, job.channels, resolution_px)
    if is_first():
        _clear(out, resume=resume, overwrite=overwrite)
    size_px = _OVERSIZE * resolution_px
    least = recipe.batch  # as many as the network of the cells found is trained on at once
    read = read_images(
        images, size_px=size_px, min_different=least, limit=recipe.images, progress=stage(progress, "images")
    )
    for line in (read.told(resolution_px), *read.left_out()):
        say(line)
    table = table_for(device, CELL.name, resolution_px, threads=threads, progress=progress, say=say)
    costs = cell_costs(table.latencies, cells=job.cells, channels=job.channels)
    if job.budget_ms is not None:
        costs.require(job.budget_ms)
    if overwrite and out.is_dir() and is_first():
        shutil.rmtree(out)
    found = []
    for k in range(seeds):
        seeded = replace(job, recipe=replace(recipe, seed=recipe.seed + k))
        folder = out / _MARK / str(recipe.seed + k)
        found.append(
            run_seed(seeded, read.pixels, folder, table=table, costs=costs, running=running, progress=progress, say=say)
        )
    if not is_first():
        raise SystemExit(0)
    chosen = min(found, key=lambda seed: seed.held_out_loss)
    say(f"chosen: seed {chosen.seed}, held-out loss {chosen.held_out_loss:.4f} is the lowest of {len(found)}")
    _write_result(out, found, chosen, job)
    made = search(
        images,
        out=out / "package",
        budget=budget or Budget(max_macs=_whole_mmacs(job.architecture(chosen.genotype))),
        device=device,
        supernet=chosen.folder / NETWORK,
        resolution_px=resolution_px,
        threads=threads,
        overwrite=resume,
        progress=progress,
        say=say,
    )
    return Discovered(seeds=tuple(found), chosen=chosen, made=made)


def _shared(recipe: DartsRecipe, running: Running) -> DartsRecipe:
    """For several processes, each of which normalizes its images apart."""
    try:
        from search.machines import machines_for
    except ModuleNotFoundError as error:
        raise MissingExtra(f'a search of cells needs {error.name}; pip install "subnet-zoo[search]"') from None
    count = machines_for(running.devices, running.nodes).count
    try:
        return replace(recipe, norm_groups=count) if recipe.norm_groups == 1 < count else recipe
    except ValueError as error:
        raise BadRecipe(f"{count} processes share the work, and {error}") from None


def recipe_of(preset: str, *, strategy: str, epochs: int | None, seed: int) -> DartsRecipe:
    """A preset with what the user changed.

    Raises:
        BadRecipe: numbers that cannot search.
    """
    recipe = PRESETS[preset]()
    changes: dict[str, object] = {"strategy": strategy, "seed": seed}
    if epochs is not None:  # the shortest searches train both from the start
        changes |= {"epochs": epochs, "warmup_epochs": min(recipe.warmup_epochs, epochs - 1)}
    try:
        return replace(recipe, **changes)  # type: ignore[arg-type]
    except ValueError as error:
        raise BadRecipe(str(error)) from None


def read_architecture(
    path: Path, *, net: str, cells: int, channels: int, resolution_px: int | None
) -> tuple[str | int, ...]:
    """The choices of the network that a genotype's file and a size make.

    Raises:
        BadRecipe: the net is not made of cells, or has no such size.
        BadGenotype: the file is damaged, or of another space.
    """
    if net != CELL.name:
        raise BadRecipe(f"--architecture is a genotype of cells, and --net is {net}; train it with --net {CELL.name}")
    return _sized(read_genotype(path), cells, channels, resolution_px or 32).choices


def keep_origin(supernet: Supernet, genotype: Path, out: Path) -> None:
    """Put a genotype's file beside the network that was trained of it, and on its card how the cells were found."""
    found = read_origin(genotype)
    about = (
        f"found by {found.strategy}, seed {found.seed}, on {found.images}; terms of those images: {found.terms}"
        if found
        else "named by hand: their file does not say how they were found"
    )
    card = replace(supernet.card, data={**supernet.card.data, "cells": about})
    save_supernet(replace(supernet, card=card), out)
    write_genotype(read_genotype(genotype), out / GENOTYPE, found)


def _sized(genotype: Genotype, cells: int, channels: int, resolution_px: int) -> Architecture:
    try:
        return CELL.architecture(genotype, cells=cells, channels=channels, resolution_px=resolution_px)
    except BadArchitecture as error:
        raise BadRecipe(str(error)) from None


def _milliseconds(budget: Budget | None) -> float | None:
    if budget is None:
        return None
    if budget.latency_ms is None:
        raise BadRecipe(f"the budget of a search of cells is in milliseconds, not {format_budget(budget)}; ask for 5ms")
    return budget.latency_ms


def holds_run(out: Path) -> bool:
    """Whether an interrupted search in ``out`` can go on."""
    return any((out / _MARK).glob("*/*")) and not (out / RESULT).exists()


def _clear(out: Path, *, resume: bool, overwrite: bool) -> None:
    if resume and overwrite:
        raise OutputExists("--resume continues a run and --overwrite deletes it; give one of them")
    if not resume and not overwrite and holds_run(out):
        raise OutputExists(f"{out} holds an unfinished search; --resume goes on with it, --overwrite begins anew")
    if not resume:
        check_free(out, mark=_MARK, overwrite=overwrite)


def _whole_mmacs(architecture: Architecture) -> int:
    """Multiply-accumulates of the network, rounded up to whole millions, for a name without a device's milliseconds."""
    with torch.device("meta"):
        backbone = CELL.build(architecture)
    px = architecture.resolution_px
    return math.ceil(count_compute(backbone, (1, 3, px, px)).macs / 1_000_000) * 1_000_000


def _write_result(out: Path, found: Sequence[Seed], chosen: Seed, job: Job) -> None:
    """The chosen cells, their picture, and what each seed gave."""
    write_genotype(chosen.genotype, out / GENOTYPE, job.origin(chosen))
    for picture in PICTURES:
        plot_cell(chosen.genotype, out / picture)
    seeds = [{**vars(seed), "genotype": to_document(seed.genotype), "folder": f"{_MARK}/{seed.seed}"} for seed in found]
    document = {"schema": SCHEMA, "chosen": chosen.seed, "recipe": asdict(job.recipe), "seeds": seeds}
    replace_file(out / RESULT, json.dumps(document, indent=1) + "\n")
