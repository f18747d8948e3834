"""History: what a search looked at, kept as ``search.json`` in its package and in those that are made of it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from search.types import Candidate, SearchResult
from zoo.errors import BadPackage

HISTORY = "search.json"
# Of a fine-tuning: its settings, and a row an epoch.
CURVE = "curve.json"
# Points of the picture; more would only cover each other, and every one travels with the package.
MOST_SCORED = 10_000
_CRITERION = re.compile(r"[A-Za-z -]{1,40}")  # a stranger's card may hold anything


@dataclass(frozen=True, kw_only=True)
class Row:
    """A network on the front: its options in words, what it costs, and its score."""

    network: str
    score: FiniteFloat
    predicted_ms: FiniteFloat
    macs: int
    params: int
    peak_memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class History:
    """A search.

    Args:
        budget_ms: the limit on milliseconds; None where the budget was of another kind.
        front: of score against milliseconds, the fastest first.
        scored: (predicted milliseconds, score) of all networks that were scored, at most ``MOST_SCORED``.
    """

    budget_ms: float | None
    front: tuple[Row, ...]
    scored: tuple[tuple[FiniteFloat, FiniteFloat], ...]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    schema_number: Annotated[Literal[1], Field(alias="schema")]
    budget_ms: float | None
    front: tuple[Row, ...]
    scored: tuple[tuple[FiniteFloat, FiniteFloat], ...]


def score_words(criterion: str | None) -> str:
    """What a score is, for people.

    Args:
        criterion: of ``search.scores``; None of packages that were made before it was kept.
    """
    if criterion == "MACs":
        return "size alone, the share of the largest network's multiply-accumulates"
    if criterion == "accuracy table":
        return "points above the smallest network, learned from labelled sets that are not yours (accuracy table)"
    agreement = "agreement with the largest network on the images"
    if criterion is None or not _CRITERION.fullmatch(criterion):
        return agreement
    words, sized, _ = criterion.partition(" and size")
    return f"{agreement} ({words}){', and size' if sized else ''}"


def history_text(result: SearchResult, *, budget_ms: float | None) -> str:
    """The text of ``search.json``."""
    document = {
        "schema": 1,
        "budget_ms": budget_ms,
        "front": [_row(c) for c in sorted(result.front, key=lambda c: c.predicted_ms)],
        "scored": [[c.predicted_ms, c.score] for c in result.evaluated[:MOST_SCORED]],
    }
    return json.dumps(document) + "\n"


def _row(c: Candidate) -> dict[str, object]:
    fields = {key: value for key, value in vars(c).items() if key != "architecture"}
    return {"network": " ".join(map(str, c.architecture.choices)), **fields}


def read_history(content: bytes) -> History:
    """``search.json`` -> History.

    Raises:
        BadPackage: the text is damaged, or of another schema.
    """
    try:
        found = _File.model_validate_json(content)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"]
        raise BadPackage(f"{HISTORY} cannot be read ({reason}); get the package again") from None
    return History(budget_ms=found.budget_ms, front=found.front, scored=found.scored)
