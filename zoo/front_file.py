"""Fronts: what a search for several devices found, as ``fronts.json`` and as a plot of score against milliseconds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search.types import Candidate, SearchResult
from zoo.errors import MissingExtra
from zoo.front_plot import plot_fronts
from zoo.job import Job
from zoo.names import format_budget
from zoo.progress import Say
from zoo.types import ModelCard

SCHEMA = 1
FRONTS, PLOT = "fronts.json", "fronts.png"


def write_fronts(
    folder: Path, jobs: Sequence[Job], results: Sequence[SearchResult], cards: Sequence[ModelCard], *, say: Say
) -> str | None:
    """Write both files into ``folder``; without matplotlib only the first.

    Returns:
        The plot's file name; None where it could not be drawn, which is said.
    """
    document = fronts_document(jobs, results, cards)
    (folder / FRONTS).write_text(json.dumps(document, indent=1) + "\n", "utf-8", newline="\n")
    try:
        plot_fronts(results, folder / PLOT, sources=[job.device.source for job in jobs])
    except MissingExtra as error:
        say(str(error))
        return None
    return PLOT


def fronts_document(jobs: Sequence[Job], results: Sequence[SearchResult], cards: Sequence[ModelCard]) -> dict[str, Any]:
    """All fronts as plain values: for each device its budget, the packaged network, the front and all that was seen."""
    first = jobs[0]
    return {
        "schema": SCHEMA,
        "task": str(first.name.task),
        "supernet": first.ready.supernet.card.name,
        "supernet_sha256": first.ready.sha256,
        "seed": first.seed,
        "devices": [
            {
                "device": job.device.id,
                "table": job.device.source,
                "budget": format_budget(job.name.budget),
                "resolution_px": job.resolution_px,
                "packaged": list(card.architecture.choices),
                "front": [_candidate(candidate) for candidate in result.front],
                "evaluated": [[c.predicted_ms, c.score] for c in result.evaluated],
            }
            for job, result, card in zip(jobs, results, cards, strict=True)
        ],
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    fields = {key: value for key, value in vars(candidate).items() if key != "architecture"}
    return {"choices": list(candidate.architecture.choices), **fields}
