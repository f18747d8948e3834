"""Evolution, the search loop: the networks that score best on the user's images, within a budget.

Evolution over the trained supernet (Real et al., AAAI 2019, with the population of one-shot search): networks are drawn
inside a narrow band below the budget, scored without labels, and the best ones are crossed and mutated. The latency
table answers for a hundred thousand networks in one look-up, so only those that fit are ever scored.

A score does not depend on a device: where several are asked for, each network is scored once for all of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from hardware_profiles import LatencyTable
from hardware_profiles.types import size_text
from search.allocator import keep_memory
from search.errors import BadSupernet, NotEnoughImages, WrongTable
from search.images.views import center
from search.nets import Net
from search.scores import CRITERIA, LEARNED, SIZE, Look, criterion_for, look
from search.scores.criteria import OF_VIEWS, Criterion
from search.subnets.costs import CostModel, Rows
from search.subnets.proposals import Goal, Key, Proposals
from search.supernet import Supernet
from search.types import Budget, Candidate, SearchResult, Task

_FEWEST_IMAGES, _MOST_IMAGES = 32, 128  # fewer large ones, so that a search takes as long
_PIXELS = 128 * 32 * 32  # of 128 images at 32 px
# Without images a score costs nothing, so many more networks are looked at before one is called the best that fits:
# with 64 of them 15 to 30 % of the largest one's arithmetic was missed.
_FREE_NETWORKS, _FREE_ROUNDS = 30, 4
# Larger inputs are scored at about this side: networks come in the same order as at 224 px (tau-b .88, where two draws
# of images at 224 px agree by .95) in half the time.
_SCORED_PX, _STEP_PX = 160, 32


def find(
    supernet: Supernet,
    table: LatencyTable,
    pixels: Tensor,
    budget: Budget,
    *,
    task: Task = Task.CLS,
    criterion: str | None = None,
    resolution_px: int | None = None,
    evaluations: int = 64,
    generations: int = 4,
    images: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> SearchResult:
    """Search the supernet; same arguments, same result.

    Args:
        supernet: trained weights.
        table: of the device, for the supernet's net and this resolution.
        pixels: uint8 [N, 3, S, S], the user's unlabelled images.
        budget: the limits.
        task: what the features are for; decides which of them are compared (``search.scores``).
        criterion: what scores, a key of ``search.scores.CRITERIA`` that needs no views, or one that looks at no image:
            ``SIZE``, the share of the largest network's multiply-accumulates, or ``LEARNED``, what the supernet's
            accuracy table says; None takes the task's.
        resolution_px: input size; None takes the table's.
        evaluations: networks scored in all; 30 times as many where no image is looked at.
        generations: rounds of evolution among them, after the first draw; four times as many then.
        images: at most this many are looked at, the same for every network; None takes 128 of 32 px, fewer larger ones.
        seed: of the search and of the choice of images.
        progress: called with (networks scored, networks in all).

    Raises:
        InfeasibleBudget: not even the network nearest to the budget meets it.
        MissingOp: the table lacks a block.
        WrongTable: the table is of another net or resolution.
        NotEnoughImages: fewer than two, and nothing can be compared.
        BadSupernet: its weights give features that are not finite.
        ValueError: numbers that ask for no search.
    """
    _check_resolution(table, resolution_px, table.width_px)
    (result,) = find_each(
        supernet,
        [Goal(table=table, budget=budget)],
        pixels,
        task=task,
        criterion=criterion,
        evaluations=evaluations,
        generations=generations,
        images=images,
        seed=seed,
        progress=progress,
    )
    return result


def find_each(
    supernet: Supernet,
    goals: Sequence[Goal],
    pixels: Tensor,
    *,
    task: Task = Task.CLS,
    criterion: str | None = None,
    evaluations: int = 64,
    generations: int = 4,
    images: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[SearchResult, ...]:
    """A search for each of several devices, from shared scores; arguments and errors as ``find``.

    Args:
        supernet: trained weights.
        goals: at least one; all tables hold for one resolution.
        pixels: see ``find``.
        task: see ``find``.
        criterion: see ``find``.
        evaluations: networks scored for each goal; those of the others count where they meet its budget.
        generations: see ``find``.
        images: see ``find``.
        seed: see ``find``.
        progress: see ``find``.

    Returns:
        A result a goal, in their order; ``evaluated`` holds all scored networks that meet its budget.
    """
    started = time.perf_counter()
    keep_memory()  # the maps of 32 photos come and go for each network: half of a search at 224 px
    tables = [goal.table for goal in goals]
    for table in tables:
        _check_table(supernet, table)
        _check_resolution(table, tables[0].resolution_px, tables[0].width_px)
    count = min(len(pixels), images if images is not None else images_at(tables[0].resolution_px))
    _check_numbers(evaluations=evaluations, generations=generations, images=count)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(pixels))[:count])
    card = supernet.card
    size_px = scored_at(tables[0].resolution_px, tables[0].width_px or tables[0].resolution_px)
    proposals = [Proposals(goal.family or supernet.net, goal, seed, len(pixels)) for goal in goals]
    name = criterion_for(task, supernet.accuracy) if criterion is None else criterion
    scorer: Callable[[Rows], Iterable[float]]
    if name in (SIZE, LEARNED):
        family = goals[0].family or supernet.net
        scorer = _sizer(family, tables[0]) if name == SIZE else _learner(supernet, tables[0])
        evaluations, generations = _FREE_NETWORKS * evaluations, _FREE_ROUNDS * generations
    elif name in CRITERIA.keys() - OF_VIEWS:
        batch_BCHW = center(pixels[torch.from_numpy(chosen)], size_px, card.mean, card.std)  # noqa: N806
        scorer = _Scorer(supernet, batch_BCHW, CRITERIA[name])
    else:
        known = [SIZE, LEARNED, *sorted(CRITERIA.keys() - OF_VIEWS)]
        raise ValueError(f"criterion is {name!r}; known are {', '.join(known)}")
    scores: dict[Key, float] = {}
    per_round = -(-evaluations // (generations + 1))
    for _ in range(generations + 1):
        for one in proposals:
            rows = one.fresh(scores)[: min(per_round, evaluations - one.asked)]
            for row, score in zip(rows, scorer(np.stack(rows)) if rows else (), strict=True):
                scores[tuple(row.tolist())] = float(score)
                one.asked += 1
                if progress is not None:
                    progress(len(scores), evaluations * len(proposals))
    seconds = time.perf_counter() - started
    return tuple(
        _result(one.candidates(scores), one.goal, criterion=name, seed=seed, seconds=seconds) for one in proposals
    )


def front(candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """Those that no faster candidate outscores, fastest first: along it, more milliseconds never score lower."""
    best: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (c.predicted_ms, -c.score)):
        if not best or candidate.score > best[-1].score:
            best.append(candidate)
    return tuple(best)


def _sizer(net: Net, table: LatencyTable) -> Callable[[Rows], Iterable[float]]:
    """Scores networks by their share of the largest one's multiply-accumulates."""
    cost = CostModel(net, table)
    (most,) = cost(net.encode([net.largest(table.resolution_px)])).macs
    return lambda rows: cost(rows).macs / most


def _learner(supernet: Supernet, table: LatencyTable) -> Callable[[Rows], Iterable[float]]:
    """Scores networks by the supernet's accuracy table."""
    if supernet.accuracy is None:
        raise ValueError(f"{supernet.card.name} has no accuracy table; take another criterion than {LEARNED}")
    return supernet.accuracy.at(math.sqrt(table.resolution_px * (table.width_px or table.resolution_px)))


class _Scorer:
    """Scores one network after another against the largest, on one fixed batch."""

    def __init__(self, supernet: Supernet, batch_BCHW: Tensor, criterion: Criterion) -> None:  # noqa: N803
        self._supernet, self._batch, self._compare = supernet, batch_BCHW, criterion
        largest = supernet.net.largest(batch_BCHW.shape[-2])
        self._teacher = self._look(supernet.net.encode([largest])[0])

    def __call__(self, rows: Rows) -> Iterator[float]:
        return (self._compare(self._look(row), self._teacher) for row in rows)

    def _look(self, row: Rows) -> Look:
        (architecture,) = self._supernet.net.decode(row[None], self._batch.shape[-2])
        backbone = self._supernet.subnet(architecture).to(memory_format=torch.channels_last)
        seen = look(backbone, self._supernet.projector(backbone.embedding_dim), self._batch)
        if not seen.finite:
            raise BadSupernet(f"{self._supernet.card.name} gives features that are not finite; train it again")
        return seen


def _result(evaluated: tuple[Candidate, ...], goal: Goal, *, criterion: str, seed: int, seconds: float) -> SearchResult:
    return SearchResult(
        best=max(evaluated, key=lambda c: (c.score, -c.predicted_ms)),
        front=front(evaluated),
        evaluated=evaluated,
        criterion=criterion,
        seed=seed,
        seconds=seconds,
        device_id=goal.table.device.id,
    )


def scored_at(height_px: int, width_px: int) -> tuple[int, int]:
    """The input's height and width, made smaller alike where it is larger than needed; multiples of 32 then."""
    shrink = min(1.0, _SCORED_PX / (height_px * width_px) ** 0.5)
    if shrink == 1.0:
        return height_px, width_px
    height, width = (max(_STEP_PX, round(shrink * side / _STEP_PX) * _STEP_PX) for side in (height_px, width_px))
    return height, width


def images_at(resolution_px: int) -> int:
    """As many images as hold the pixels of 128 of 32 px."""
    return min(_MOST_IMAGES, max(_FEWEST_IMAGES, _PIXELS // resolution_px**2))


def _check_table(supernet: Supernet, table: LatencyTable) -> None:
    device, net = table.device.id, supernet.net.name
    if table.net != net:
        raise WrongTable(f"the table of {device} is of net {table.net!r}, the supernet of {net!r}; measure {net}")


def _check_resolution(table: LatencyTable, resolution_px: int | None, width_px: int | None) -> None:
    if resolution_px not in (None, table.resolution_px) or width_px != table.width_px:
        asked = size_text(resolution_px or table.resolution_px, width_px)
        raise WrongTable(f"the table of {table.device.id} holds for {table.size_text} px, not {asked}; measure that")


def _check_numbers(*, evaluations: int, generations: int, images: int) -> None:
    if evaluations < 1 or generations < 0:
        raise ValueError(f"{evaluations} evaluations in {generations} generations; at least 1 and 0 make a search")
    if images < 2:
        raise NotEnoughImages(f"{images} image(s) to compare networks on; at least 2 are needed")
