"""A package's README.md: its card for people, with a YAML head for the Hub and snippets that run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from search.types import Task
from zoo.package.history import score_words
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
    "map50": "mean_average_precision",
}

_PIPELINES = {Task.CLS: "image-classification", Task.DET: "object-detection", Task.SEG: "image-segmentation"}
_SHOWN_CLASSES = 20


def answered_task(card: ModelCard) -> Task | None:
    """What the artefacts answer, by the outputs that were compared; None where they describe a picture in numbers."""
    outputs = _outputs(card)
    if {"boxes", "scores"} <= outputs:
        return Task.DET
    return Task.SEG if "masks" in outputs else Task.CLS if "logits" in outputs else None


def returned(card: ModelCard, *, embedding_dim: int | None = None) -> str:
    """What the artefacts return, by the outputs that were compared, as the end of "It returns ..."."""
    selects = any(report.target.nms for report in card.reports)
    match answered_task(card):
        case Task.DET:
            text = f"boxes (x0, y0, x1, y1 in pixels of the input) with scores in {_classes(card)}"
            return f"{text}; and detections, the best 100 of them that do not overlap" if selects else text
        case Task.SEG:
            return f"masks, a logit at each place in {_classes(card)}"
        case Task.CLS:
            return f"logits in {_classes(card)}"
    maps = sorted(_outputs(card) - {"embedding"})
    size = "" if embedding_dim is None else f" of {embedding_dim} numbers"
    return f"an embedding{size}" + (f" and feature maps ({', '.join(maps)})" if maps else "")


def _outputs(card: ModelCard) -> set[str]:
    return {output.output for report in card.reports for output in report.comparison.outputs}


def _classes(card: ModelCard) -> str:
    if card.head is None:
        return "the classes that the files' metadata names"
    names = card.head.classes
    more = ", ..." if len(names) > _SHOWN_CLASSES else ""
    return f"{len(names)} class{'es' * (len(names) != 1)}: {', '.join(names[:_SHOWN_CLASSES])}{more}"


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
    values["ranked_by"] = score_words(card.recipe.criterion)
    values["returned"] = _cell(returned(card, embedding_dim=embedding_dim))
    values["answered"] = answered_task(card)
    values["split"] = None if card.split is None else split_text(card.split)
    return template.render(card=card, head=head, **values) + "\n"


def card_head(card: ModelCard) -> dict[str, Any]:
    """The YAML head: what the Hub sorts and searches by, and the evaluation in its ``model-index``."""
    learned = "knowledge-distillation" if "teacher" in card.recipe.supernet_data else "self-supervised"
    tags = [LIBRARY, "onnx", "neural-architecture-search", learned]
    head: dict[str, Any] = {
        "library_name": LIBRARY,
        "pipeline_tag": _pipeline(card),
        "license": card.license,
        "base_model": card.recipe.supernet,
        "tags": [*tags, card.architecture.net, f"task:{card.task}", f"device:{card.recipe.device.id}"],
    }
    trained_on = str(card.recipe.supernet_data.get("name", "")).partition(",")[0]
    if trained_on[:1].isalpha():  # a name, not the beginning of a sentence about many sets
        head["datasets"] = [_slug(trained_on, "-")]
    if card.evaluation:
        head["metrics"] = sorted({_metric(evaluation) for evaluation in card.evaluation})
        head["model-index"] = [
            {"name": card.name, "results": [_result(one, _pipeline(card)) for one in card.evaluation]}
        ]
    return head


def _pipeline(card: ModelCard) -> str:
    """What the Hub calls the task: what has learned no labels extracts features, whatever it was searched for."""
    task = answered_task(card)
    is_untrained = card.head is not None and not card.head.trained
    return "image-feature-extraction" if task is None or is_untrained else _PIPELINES[task]


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
