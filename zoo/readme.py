"""A package's README.md: its card for people, with a YAML head for the Hub and snippets that run."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from zoo.types import ModelCard

_TEMPLATES = Path(__file__).parent / "templates"


def render_readme(card: ModelCard, *, params: int, embedding_dim: int) -> str:
    """The text of README.md.

    Args:
        card: of the network.
        params: weights of the network.
        embedding_dim: length of its embedding.
    """
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, trim_blocks=True)
    environment.filters["cell"] = _cell
    template = environment.get_template("README.md.jinja")
    return template.render(card=card, head=_head(card), params=params, embedding_dim=embedding_dim) + "\n"


def _head(card: ModelCard) -> str:
    head = {
        "library_name": "subnet-zoo",
        "pipeline_tag": "image-feature-extraction",
        "license": card.license,
        "tags": ["subnet-zoo", "onnx", "neural-architecture-search", "self-supervised", card.architecture.net],
    }
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True).rstrip()


def _cell(value: object) -> str:
    """Text for a table: one line, nothing that a renderer would take for markup of its own."""
    return re.sub(r"([|<>`\[\]])", r"\\\1", " ".join(str(value).split()))
