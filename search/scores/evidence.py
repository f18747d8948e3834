"""Evidence: what is known of how well each score orders networks, kept beside the scores so that a search can say it.

``evidence.json`` is written by ``score_quality.py --report --keep`` and ``search_gain.py report --keep`` of benchmarks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from search.types import Task

EVIDENCE = Path(__file__).with_name("evidence.json")
BASELINE = "MACs"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A score beside labels, on networks of equal milliseconds; each triple is a mean and its 95 % interval.

    Args:
        supernet: whose networks.
        networks: how many.
        sets: of labelled images.
        tau: Kendall's tau-b of score and accuracy, mean over sets.
        baseline_tau: that of multiply-accumulates.
        gain_points: accuracy of the preferred network less the mean of all, in points.
    """

    supernet: str
    networks: int
    sets: int
    tau: tuple[float, float, float]
    baseline_tau: float
    gain_points: tuple[float, float, float]


def judged(task: Task, criterion: str, path: Path = EVIDENCE) -> Judged | None:
    """What is known of ``criterion`` for ``task``; None where it was not measured."""
    if not path.exists():
        return None
    kept = json.loads(path.read_text("utf-8")).get("cls" if task is Task.CLS else "dense")
    if kept is None or criterion not in kept["scores"]:
        return None
    own = kept["scores"][criterion]
    return Judged(
        supernet=kept["supernet"],
        networks=kept["networks"],
        sets=kept["sets"],
        tau=tuple(own["tau"]),
        baseline_tau=kept["scores"][BASELINE]["tau"][0],
        gain_points=tuple(own["gain_points"]),
    )


def expectation(task: Task, criterion: str, path: Path = EVIDENCE) -> str:
    """What the user of a search may expect of its score, in a line.

    Example:
        >>> expectation(Task.CLS, "projected cosine", Path("nowhere"))
        'expect speed, not accuracy: nobody has measured whether this score finds better networks of equal milliseconds'
    """
    known = judged(task, criterion, path)
    if known is None:
        return (
            "expect speed, not accuracy: nobody has measured whether this score finds better networks of equal"
            " milliseconds"
        )
    tau, gain = known.tau, known.gain_points
    beside = "" if criterion == BASELINE else f", that of {BASELINE} {known.baseline_tau:+.2f}"
    how = "the largest network that fits was taken, for no score does better; " if criterion == BASELINE else ""
    better = "better networks" if gain[1] > 0 else "no surely better networks"
    return (
        f"{how}expect {better} than a random one of equal predicted milliseconds: {gain[0]:+.1f} points ({gain[1]:+.1f}"
        f" to {gain[2]:+.1f}) on {known.sets} sets, {known.networks} networks of {known.supernet}; tau-b with labels"
        f" {tau[0]:+.2f} ({tau[1]:+.2f} to {tau[2]:+.2f}){beside}{_whole(criterion, path)}"
    )


def _whole(criterion: str, path: Path) -> str:
    """What a whole search by the score gained where all was timed; nothing where that was not measured."""
    kept = json.loads(path.read_text("utf-8")).get("search")
    if kept is None or kept["score"] != criterion:
        return ""
    gain = kept["gain_points"]
    return f"; a whole search gained {gain[0]:+.1f} points ({gain[1]:+.1f} to {gain[2]:+.1f}) where blocks were timed"
