"""A package's README.md: its card for people, with a YAML head for the Hub and snippets that run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from search.types import Task
from zoo.types import Evaluation, ModelCard, split_text

README, CELLS = "README.md", "cells.png"
LIBRARY = "subnet-zoo"

_TEMPLATES = Path(__file__).parent
# What the Hub calls a metric, by a word in ours.
_METRICS = {
    "top1": "accuracy",
    "accuracy": "accuracy",
    "miou": "mean_iou",
    "ap": "mean_average_precision",
    "map": "mean_average_precision",
}

_PIPELINES = {Task.CLS: "image-classification", Task.DET: "object-detection", Task.SEG: "image-segmentation"}


def render_readme(card: ModelCard, *, params: int, embedding_dim: int, repo: str | None = None) -> str:
    """The text of README.md.

    Args:
        card: of the network.
        params: weights of the network.
        embedding_dim: length of its embedding.
        repo: ``org/name`` where it is published; None for a folder.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["cell"] = _cell
    picture = CELLS if card.architecture.net == "cell" else None
    template = environment.get_template("README.md.jinja")
    head = yaml.safe_dump(card_head(card), sort_keys=False, allow_unicode=True).rstrip()
    values: dict[str, Any] = {"params": params, "embedding_dim": embedding_dim, "repo": repo, "picture": picture}
    values["split"] = None if card.split is None else split_text(card.split)
    return template.render(card=card, head=head, **values) + "\n"


def card_head(card: ModelCard) -> dict[str, Any]:
    """The YAML head: what the Hub sorts and searches by, and the evaluation in its ``model-index``."""
    tags = [LIBRARY, "onnx", "neural-architecture-search", "self-supervised"]
    head: dict[str, Any] = {
        "library_name": LIBRARY,
        "pipeline_tag": _pipeline(card),
        "license": card.license,
        "base_model": card.recipe.supernet,
        "tags": [*tags, card.architecture.net, f"task:{card.task}", f"device:{card.recipe.device.id}"],
    }
    if trained_on := card.recipe.supernet_data.get("name"):
        head["datasets"] = [_slug(str(trained_on).partition(",")[0], "-")]
    if card.evaluation:
        head["metrics"] = sorted({_metric(evaluation) for evaluation in card.evaluation})
        head["model-index"] = [
            {"name": card.name, "results": [_result(one, _pipeline(card)) for one in card.evaluation]}
        ]
    return head


def _pipeline(card: ModelCard) -> str:
    """What the Hub calls the task: a backbone extracts features, whatever it was searched for."""
    return "image-feature-extraction" if card.head is None else _PIPELINES[card.head.task]


def _result(evaluation: Evaluation, pipeline: str) -> dict[str, Any]:
    """https://github.com/huggingface/hub-docs/blob/main/modelcard.md, ``model-index.results``."""
    name = f"{evaluation.metric} ({evaluation.protocol})"
    return {
        "task": {"type": pipeline},
        "dataset": {"type": _slug(evaluation.data, "-"), "name": evaluation.data},
        "metrics": [{"type": _metric(evaluation), "name": name, "value": evaluation.value}],
    }


def _metric(evaluation: Evaluation) -> str:
    words = re.findall(r"[a-z0-9]+", evaluation.metric.lower().replace("-", ""))
    return next((_METRICS[word] for word in words if word in _METRICS), _slug(evaluation.metric, "_"))


def _slug(text: str, joint: str) -> str:
    return joint.join(re.findall(r"[a-z0-9]+", text.lower())) or "other"


def _cell(value: object) -> str:
    """Text for a table: one line, nothing that a renderer would take for markup of its own."""
    return re.sub(r"([|<>`\[\]])", r"\\\1", " ".join(str(value).split()))
