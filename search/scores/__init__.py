"""Scores: how good a network's features are, told without the user's labels; higher is better.

criteria (all of them, of one look at the images) · maps (those of feature maps) · accuracy (learned on labelled sets of
others) · evidence (how well each orders)

A task's score is what found the best networks among those of equal milliseconds, see ``benchmarks/RESULTS.md``: of
embeddings the supernet's accuracy table where it has one, else agreement and size together; of maps nothing beat the
largest network that fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from search.scores.accuracy import AccuracyTable as AccuracyTable
from search.scores.accuracy import Learned as Learned
from search.scores.criteria import CRITERIA as CRITERIA
from search.scores.criteria import Look as Look
from search.scores.criteria import look as look
from search.types import Task

SIZE = "MACs"
"""The criterion that looks at no image: of what fits, the network that computes most."""
LEARNED = "accuracy table"
"""The other one: what the supernet's accuracy table says."""
SCORES: Mapping[Task, str] = MappingProxyType({Task.CLS: "cosine and size", Task.DET: SIZE, Task.SEG: SIZE})
"""The criterion that a search takes, by task: a key of CRITERIA, or SIZE."""


def criterion_for(task: Task, accuracy: AccuracyTable | None) -> str:
    """The criterion of a search among networks whose accuracy table is given, where there is one."""
    return LEARNED if task is Task.CLS and accuracy is not None else SCORES[task]
