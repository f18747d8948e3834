"""Find: the networks that agree best with the largest one on the user's images, within a budget.

Evolution over the trained supernet (Real et al., AAAI 2019, with the population of one-shot search): networks are drawn
inside a narrow band below the budget, scored without labels, and the best ones are crossed and mutated. The latency
table answers for a hundred thousand networks in one look-up, so only those that fit are ever scored.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardware_profiles import LatencyTable
from search.costs import CostModel, Costs, Rows
from search.errors import BadSupernet, InfeasibleBudget, NotEnoughImages, WrongTable
from search.nets import Net
from search.scores import agreement, projections
from search.supernet import Supernet
from search.types import Budget, Candidate, SearchResult, Task
from search.views import center

_DRAWS = 50_000
_MUTATION = 0.1
_PARENTS = 8


def find(
    supernet: Supernet,
    table: LatencyTable,
    pixels: Tensor,
    budget: Budget,
    *,
    task: Task = Task.CLS,
    resolution_px: int | None = None,
    evaluations: int = 64,
    generations: int = 4,
    images: int = 128,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> SearchResult:
    """Search the supernet; same arguments, same result.

    Args:
        supernet: trained weights.
        table: of the device, for the supernet's net and this resolution.
        pixels: uint8 [N, 3, S, S], the user's unlabelled images.
        budget: the limits.
        task: what the features are for; only ``cls`` is scored so far.
        resolution_px: input size; None takes the table's.
        evaluations: networks scored in all.
        generations: rounds of evolution among them, after the first draw.
        images: at most this many are looked at, the same for every network.
        seed: of the search and of the choice of images.
        progress: called with (networks scored, networks in all).

    Raises:
        InfeasibleBudget: not even the network nearest to the budget meets it.
        MissingOp: the table lacks a block.
        WrongTable: the table is of another net or resolution.
        NotEnoughImages: fewer than two, and nothing can be compared.
        BadSupernet: its weights give features that are not finite.
        ValueError: a task without a score, or numbers that ask for no search.
    """
    started = time.perf_counter()
    _check_table(supernet, table, resolution_px)
    _check_numbers(task, evaluations=evaluations, generations=generations, images=min(images, len(pixels)))
    rng = np.random.default_rng(seed)
    cost = CostModel(supernet.net, table)
    chosen = np.sort(rng.permutation(len(pixels))[:images])
    card = supernet.card
    batch_BCHW = center(pixels[torch.from_numpy(chosen)], table.resolution_px, card.mean, card.std)  # noqa: N806
    rows = _propose(supernet.net, {}, rng)
    nearest = _nearest(rows, cost, budget, supernet.net)
    score = _Scorer(supernet, batch_BCHW)
    per_round = -(-evaluations // (generations + 1))
    scored: dict[tuple[int, ...], Candidate] = {}
    for _ in range(generations + 1):
        rows = np.concatenate([_propose(supernet.net, scored, rng) if scored else rows, nearest[None]])
        pool = _feasible(rows, _load(cost(rows), budget))
        fresh = [row for row in pool if tuple(row.tolist()) not in scored]
        for row in fresh[: min(per_round, evaluations - len(scored))]:
            scored[tuple(row.tolist())] = _candidate(row, cost, score, supernet.net, table.resolution_px)
            if progress is not None:
                progress(len(scored), evaluations)
    evaluated = tuple(scored.values())
    return SearchResult(
        best=max(evaluated, key=lambda c: (c.score, -c.predicted_ms)),
        front=front(evaluated),
        evaluated=evaluated,
        seed=seed,
        seconds=time.perf_counter() - started,
        device_id=table.device.id,
    )


def front(candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """Those that no faster candidate outscores, fastest first: along it, more milliseconds never score lower."""
    best: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (c.predicted_ms, -c.score)):
        if not best or candidate.score > best[-1].score:
            best.append(candidate)
    return tuple(best)


class _Scorer:
    """Scores one network after another against the largest, on one fixed batch."""

    def __init__(self, supernet: Supernet, batch_BCHW: Tensor) -> None:  # noqa: N803
        self._supernet, self._batch = supernet, batch_BCHW
        largest = supernet.net.largest(batch_BCHW.shape[-1])
        self._teacher = self._projections(supernet.net.encode([largest])[0])

    def __call__(self, row: Rows) -> float:
        return agreement(self._projections(row), self._teacher)

    def _projections(self, row: Rows) -> Tensor:
        (architecture,) = self._supernet.net.decode(row[None], self._batch.shape[-1])
        backbone = self._supernet.subnet(architecture).to(memory_format=torch.channels_last)
        z_BD = projections(backbone, self._supernet.projector(backbone.embedding_dim), self._batch)  # noqa: N806
        if not z_BD.isfinite().all():
            raise BadSupernet(f"{self._supernet.card.name} gives features that are not finite; train it again")
        return z_BD


def _check_table(supernet: Supernet, table: LatencyTable, resolution_px: int | None) -> None:
    device, net = table.device.id, supernet.net.name
    if table.net != net:
        raise WrongTable(f"the table of {device} is of net {table.net!r}, the supernet of {net!r}; measure {net}")
    if resolution_px not in (None, table.resolution_px):
        raise WrongTable(f"the table of {device} holds for {table.resolution_px} px, not {resolution_px}; measure that")


def _check_numbers(task: Task, *, evaluations: int, generations: int, images: int) -> None:
    if task is not Task.CLS:
        raise ValueError(f"task {task} has no score yet; ask for cls")
    if evaluations < 1 or generations < 0:
        raise ValueError(f"{evaluations} evaluations in {generations} generations; at least 1 and 0 make a search")
    if images < 2:
        raise NotEnoughImages(f"{images} image(s) to compare networks on; at least 2 are needed")


def _propose(net: Net, scored: dict[tuple[int, ...], Candidate], rng: np.random.Generator) -> Rows:
    """Many rows to choose from: spread over all sizes at first, then children of the best so far."""
    sizes = np.array([len(choice.options) for choice in net.space])
    if not scored:
        # A slope a row, drawn once, tilts all its choices to the small or the large side: even the ends are reached.
        tilt_n1 = rng.uniform(-4, 4, (_DRAWS, 1))
        u_nl = rng.random((_DRAWS, len(sizes)))
        tilted = np.log1p(u_nl * np.expm1(tilt_n1)) / tilt_n1
        rows: Rows = np.minimum((tilted * sizes).astype(np.int64), sizes - 1)
        return rows
    ranked = sorted(scored, key=lambda row: scored[row].score, reverse=True)[:_PARENTS]
    parents = np.array(ranked, dtype=np.int64)
    mother, father = (parents[rng.integers(len(parents), size=_DRAWS // 10)] for _ in range(2))
    child = np.where(rng.random(mother.shape) < 0.5, mother, father)
    return np.where(rng.random(child.shape) < _MUTATION, rng.integers(sizes, size=child.shape), child)


def _nearest(rows: Rows, cost: CostModel, budget: Budget, net: Net) -> Rows:
    """The network that uses the smallest share of the budget; a measured table may well prefer a larger kernel.

    From the best of ``rows`` on, each choice is improved in turn until none improves: exact where no two choices meet
    in a part.

    Raises:
        InfeasibleBudget: it does not meet the budget either.
    """
    rows = np.concatenate([rows, net.encode([net.smallest(cost.resolution_px)])])
    row: Rows = rows[int(_load(cost(rows), budget).argmin())]
    least = np.inf
    while (load := float(_load(cost(row[None]), budget)[0])) < least:
        least = load
        for i, choice in enumerate(net.space):
            rows = np.repeat(row[None], len(choice.options), axis=0)
            rows[:, i] = np.arange(len(choice.options))
            row = rows[int(_load(cost(rows), budget).argmin())]
    if least > 1:
        _refuse(row, cost, budget, net)
    return row


def _feasible(rows: Rows, load: NDArray[np.float64]) -> Rows:
    """The rows that meet the budget, nearest to it first in coarse bands, so that like is compared with like."""
    rows, first = np.unique(rows[load <= 1], axis=0, return_index=True)
    load = load[load <= 1][first]
    # unique() sorts the rows: without a shuffle (the same each time) a band would begin with small first choices.
    order = np.random.default_rng(len(rows)).permutation(len(rows))
    return rows[order][np.argsort(-np.floor(load[order] * 10), kind="stable")]


def _limits(budget: Budget) -> dict[str, tuple[str, float]]:
    """Cost -> its unit and its limit."""
    limits = {
        "predicted_ms": ("ms", budget.latency_ms),
        "macs": ("MACs", budget.max_macs),
        "params": ("parameters", budget.max_params),
        "peak_memory_bytes": ("bytes", budget.max_memory_bytes),
    }
    return {cost: (unit, limit) for cost, (unit, limit) in limits.items() if limit is not None}


def _load(costs: Costs, budget: Budget) -> NDArray[np.float64]:
    """The used share of the tightest limit, [N]: 1 is the budget."""
    shares = [getattr(costs, cost) / limit for cost, (_, limit) in _limits(budget).items()]
    return np.max(shares, axis=0)  # type: ignore[no-any-return]


def _refuse(row: Rows, cost: CostModel, budget: Budget, net: Net) -> NoReturn:
    """Name the limit that the nearest network misses by most."""
    costs, limits = cost(row[None]), _limits(budget)
    worst = max(limits, key=lambda name: getattr(costs, name)[0] / limits[name][1])
    unit, limit = limits[worst]
    (nearest,) = net.decode(row[None], cost.resolution_px)
    raise InfeasibleBudget(asked=limit, reachable=float(getattr(costs, worst)[0]), unit=unit, nearest=nearest)


def _candidate(row: Rows, cost: CostModel, score: _Scorer, net: Net, resolution_px: int) -> Candidate:
    costs = cost(row[None])
    (architecture,) = net.decode(row[None], resolution_px)
    return Candidate(
        architecture=architecture,
        score=score(row),
        predicted_ms=float(costs.predicted_ms[0]),
        macs=int(costs.macs[0]),
        params=int(costs.params[0]),
        peak_memory_bytes=int(costs.peak_memory_bytes[0]),
    )
