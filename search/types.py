"""The values of this package: a network's architecture, what is asked of it, and what a search found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

# What networks are trained in; auto: bf16 where the hardware is fast at it.
Compute = Literal["auto", "fp32", "bf16", "fp16"]
# Where images are kept that are trained on; auto: the first of memory and a file that has space; none: decoded anew.
Cache = Literal["auto", "ram", "disk", "none"]
# Where the numbers of each step go besides ``metrics.csv``.
Logger = Literal["csv", "tensorboard", "wandb"]
# How an edge of a searched cell mixes its operations.
Strategy = Literal["darts", "gumbel"]


class Task(StrEnum):
    """What the network is for; decides which features its score looks at."""

    CLS = "cls"
    DET = "det"
    SEG = "seg"


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One point of a net's search space.

    Args:
        net: name of the net, a key of ``search.nets.NETS``.
        choices: one option per choice of ``NETS[net].space``, in that order.
        resolution_px: side of the square input, in pixels.
    """

    net: str
    choices: tuple[str | int, ...]
    resolution_px: int


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Upper limits on one forward pass; ``None`` means no limit."""

    latency_ms: float | None = None
    max_params: int | None = None
    max_macs: int | None = None
    max_memory_bytes: int | None = None

    def within(self, limits: Budget | None) -> Budget:
        """These limits and the others together; the lower one where both have one."""
        theirs = vars(limits) if limits is not None else {}
        both = {name: (value, theirs.get(name)) for name, value in vars(self).items()}
        return Budget(**{name: min((v for v in pair if v is not None), default=None) for name, pair in both.items()})

    def __post_init__(self) -> None:
        """Refuse budgets that nothing can meet."""
        limits = (self.latency_ms, self.max_params, self.max_macs, self.max_memory_bytes)
        if all(limit is None for limit in limits):
            raise ValueError("a budget needs at least one limit, e.g. latency_ms=3")
        for limit in limits:
            if limit is not None and not (math.isfinite(limit) and limit > 0):
                raise ValueError(f"a budget's limit must be a finite number above 0, not {limit}")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A network that was scored: higher ``score`` is better; ``predicted_ms`` comes from the latency table."""

    architecture: Architecture
    score: float
    predicted_ms: float
    macs: int
    params: int
    peak_memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What a search found: the best candidate, the front of score against milliseconds, and all it looked at.

    ``criterion`` says what the scores are: a key of ``search.scores.CRITERIA``, or ``SIZE``.
    """

    best: Candidate
    front: tuple[Candidate, ...]
    evaluated: tuple[Candidate, ...]
    criterion: str
    seed: int
    seconds: float
    device_id: str
