"""Facts of a supernet: what to know of it before searching it, as rows for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.supernet import SupernetCard

Row = tuple[str, ...]


def supernet_facts(card: SupernetCard, folder: Path) -> list[Row]:
    """What it holds, how and on what it was trained, and how good its features were where that was looked at."""
    networks = "1 network" if card.architecture else f"{card.family.size:.3g} networks"
    return [
        ("name", card.name),
        ("folder", str(folder)),
        ("net", f"{card.net}: {networks}; input {card.resolution_px}x{card.resolution_px} px RGB"),
        ("objective", card.objective),
        ("recipe", _text({key: value for key, value in card.recipe.items() if isinstance(value, str | int | float)})),
        ("training", _text({key: value for key, value in card.training.items() if key != "curve"})),
        *[("loss", _loss(card.training["curve"])) for _ in range(bool(card.training.get("curve")))],
        ("training data", _text(card.data)),
        *([(f"evaluation: {key}", _text(value)) for key, value in card.evaluation.items()] or [_NOT_EVALUATED]),
        ("versions", _text(card.versions)),
    ]


_NOT_EVALUATED = ("evaluation", "none on labelled data; `zoo evaluate` does that")


def _loss(curve: Mapping[str, Any]) -> str:
    first, last = curve["rows"][0], curve["rows"][-1]
    networks = (name.removeprefix("loss_") for name in curve["columns"][1:])
    pairs = zip(networks, first[1:], last[1:], strict=True)
    return f"{', '.join(f'{name} {a} -> {b}' for name, a, b in pairs)}, steps {first[0]} -> {last[0]}; {curve['note']}"


def _text(value: Any) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    return "; ".join(f"{key} {_inner(inner)}" for key, inner in value.items())


def _inner(value: Any) -> str:
    return ", ".join(f"{key} {inner}" for key, inner in value.items()) if isinstance(value, Mapping) else str(value)
