"""Sections: what the page of packages shows, as values for its template."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.errors import BadName
from zoo.names import format_budget, parse_name
from zoo.report.charts import MOST_SHAPES, blocks_chart, compare_chart, devices_chart, front_chart
from zoo.report.facts import Facts, read_facts, share_by_size
from zoo.report.page import cut, render
from zoo.types import Evaluation

_MOST_ROWS = 200  # a browser sorts them at once


def page_text(folders: Sequence[Path], *, images: Path | None = None, figures: Sequence[Evaluation] = ()) -> str:
    """The page's HTML.

    Args:
        folders: of packages.
        images: see ``report``.
        figures: evaluations beside those in the card, of a single package.
    """
    models = [_model(read_facts(folder), images, figures) for folder in folders]
    chart = compare_chart([(f"{i + 1}. {m['name']}", m["ms"], m["megabytes"]) for i, m in enumerate(models)])
    return render("report.html.jinja", {"models": models, "compare": chart})


def _model(facts: Facts, images: Path | None, figures: Sequence[Evaluation]) -> dict[str, Any]:
    card, history = facts.card, facts.history
    first = card.reports[0] if card.reports else None
    measured_ms = first.measured.median_ms if first and first.measured else None
    if measured_ms is None and card.recipe.tries:
        measured_ms = card.recipe.tries[-1].measured_ms
    predicted_ms = first.predicted_ms if first else None
    if predicted_ms is None and card.recipe.tries:
        predicted_ms = card.recipe.tries[-1].predicted_ms
    similar = []
    if images is not None:
        from zoo.report.look_alikes import look_alikes

        similar = look_alikes(facts.folder, images)
    return {
        "name": cut(card.name),
        "card": card,
        "facts": facts,
        "sentence": _sentence(facts, measured_ms, predicted_ms),
        "ms": measured_ms if measured_ms is not None else predicted_ms,
        "measured_ms": measured_ms,
        "predicted_ms": predicted_ms,
        "megabytes": first.bytes / 1e6 if first else None,
        "figures": [*card.evaluation, *figures],
        "front": history.front[:_MOST_ROWS] if history else (),
        "bought": _bought(facts),
        "shares": share_by_size(facts),
        "charts": {
            "front": front_chart(facts),
            "blocks": blocks_chart(facts.blocks),
            "devices": devices_chart(facts.devices),
        },
        "renderer": "canvas" if history and len(history.scored) > MOST_SHAPES else "svg",
        "similar": similar,
        "commands": _commands(facts),
        "recipe": json.dumps(dict(card.recipe.supernet_recipe), ensure_ascii=False, indent=1)[:4000],
    }


_TASKS = {
    "cls": "image features for classification",
    "det": "features for detection",
    "seg": "features for segmentation",
}


def _sentence(facts: Facts, measured_ms: float | None, predicted_ms: float | None) -> str:
    card = facts.card
    size = f"{facts.params / 1e6:.2f} million parameters" if facts.params else f"a {cut(card.architecture.net)} network"
    height, width = card.preprocess.size_px
    time = f"takes {measured_ms:.3g} ms (measured)" if measured_ms is not None else "was not timed here"
    if measured_ms is None and predicted_ms is not None:
        time = f"is predicted to take {predicted_ms:.3g} ms"
    what = _TASKS[str(card.task)]
    chip = cut(card.recipe.device.chip)
    return f"{what[0].upper()}{what[1:]} at {width} x {height} px: {size}; one image {time} on {chip}."


def _bought(facts: Facts) -> list[str]:
    """What a smaller and a larger budget would have bought, by what the search saw."""
    history, tries = facts.history, facts.card.recipe.tries
    if history is None or not tries:
        return []
    pick = tries[-1]
    lines = []
    below = [(ms, score) for ms, score in history.scored if ms <= 0.9 * pick.predicted_ms]
    if below:
        ms, score = max(below, key=lambda one: one[1])
        lines.append(f"A tenth less time: {ms:.3g} ms buys a score of {score:.4f} ({score - pick.score:+.4f}).")
    above = [(ms, score) for ms, score in history.scored if ms > 1.01 * pick.predicted_ms]
    if above:
        ms, score = max(above, key=lambda one: one[1])
        more = f"buys a score of {score:.4f} ({score - pick.score:+.4f})" if score > pick.score else "buys nothing more"
        lines.append(f"More time: {ms:.3g} ms {more}.")
    return lines


def _commands(facts: Facts) -> Mapping[str, str]:
    """What would fill a section, and what makes the network again."""
    # A page is for others, too: it names the folder, not where on this machine that lies.
    card, folder = facts.card, shlex.quote(cut(facts.folder.resolve().name))
    net, px, device = card.architecture.net, card.architecture.resolution_px, card.recipe.device.id
    try:
        text = format_budget(parse_name(card.name).budget)
    except BadName:  # of a package that was renamed by hand
        text = "1ms"
    again = f"zoo search --images photos --task {card.task} --device {cut(device)} --budget {text}"
    return {
        "search": f"{again} --supernet {shlex.quote(cut(card.recipe.supernet))} --seed {card.recipe.seed} -o again",
        "export": f"zoo export {folder} --target edge --calibration photos -o my-edge",
        "evaluate": f"zoo evaluate {folder} --train labelled/train --test labelled/test --json > evaluation.json",
        "evaluated": f"zoo report {folder} --evaluation evaluation.json --overwrite",
        "images": f"zoo report {folder} --images photos --overwrite",
        "measure": f"zoo devices measure --net {cut(net)} --resolution {px}",
    }
