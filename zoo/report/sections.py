"""Sections: what the page of packages shows, as values for its template."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import BadName
from zoo.names import format_budget, parse_name
from zoo.package.history import score_words
from zoo.report.charts import (
    MOST_SHAPES,
    blocks_chart,
    compare_chart,
    devices_chart,
    epochs_chart,
    front_chart,
    fronts_chart,
)
from zoo.report.facts import Facts, read_facts, shares
from zoo.report.page import PAGE, cut, render, write_page
from zoo.types import Evaluation, ModelCard, Say

if TYPE_CHECKING:
    from zoo.report.pictures import Pictures

_MOST_ROWS = 200  # a browser sorts them at once


def page_text(
    folders: Sequence[Path], *, pictures: Sequence[Pictures | None] = (), figures: Sequence[Evaluation] = ()
) -> str:
    """The page's HTML.

    Args:
        folders: of packages.
        pictures: what each network makes of the user's images; empty where none were named.
        figures: evaluations beside those in the card, of a single package.
    """
    shown = pictures or [None] * len(folders)
    models = [
        _model(read_facts(folder), one, figures if len(folders) == 1 else ())
        for folder, one in zip(folders, shown, strict=True)
    ]
    return render("report.html.jinja", {"models": models, **_comparison(models)})


def write_beside(folder: Path, *, say: Say) -> None:
    """The page of a package that was just made, in its folder; whatever goes wrong costs the page, not the package."""
    try:
        say(f"{write_page(page_text([folder]), folder / PAGE)}  the report, for a browser")
    except Exception as error:  # the package is finished, and worth more than its page
        say(f"no report page ({type(error).__name__}: {cut(error)}); `zoo report {folder}` tries again")


def _comparison(models: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What several packages show beside each other; nothing of a single one."""
    if len(models) < 2:
        return {"compare": None, "fronts": None, "times": []}
    names = [f"{i + 1}. {model['folder']}" for i, model in enumerate(models)]
    facts = [model["facts"] for model in models]
    times: dict[str, list[float | None]] = {}
    for i, one in enumerate(facts):
        for device in one.devices:
            times.setdefault(device.device, [None] * len(models))[i] = device.predicted_ms
    points = [(name, model["ms"], model["megabytes"]) for name, model in zip(names, models, strict=True)]
    return {
        "compare": compare_chart(points),
        "fronts": fronts_chart(list(zip(names, facts, strict=True))),
        "times": sorted(times.items()),
    }


def _model(facts: Facts, pictures: Pictures | None, figures: Sequence[Evaluation]) -> dict[str, Any]:
    card, history = facts.card, facts.history
    first = card.reports[0] if card.reports else None
    measured_ms, predicted_ms = _times(facts)
    return {
        "name": cut(card.name),
        "folder": cut(facts.folder.resolve().name),  # what is made of a package keeps its name, not its folder
        "card": card,
        "facts": facts,
        "sentence": _sentence(facts, measured_ms, predicted_ms),
        "verdict": _verdict(facts, measured_ms, predicted_ms),
        "ms": measured_ms if measured_ms is not None else predicted_ms,
        "measured_ms": measured_ms,
        "predicted_ms": predicted_ms,
        "megabytes": first.bytes / 1e6 if first else None,
        "score_words": score_words(card.recipe.criterion),
        "figures": [*card.evaluation, *figures],
        "headlines": list({one.metric: one for one in reversed([*card.evaluation, *figures])}.values())[::-1][:3],
        "front": history.front[:_MOST_ROWS] if history else (),
        "bought": _bought(facts),
        "shares": shares(facts),
        "charts": {
            "front": front_chart(facts),
            "epochs": epochs_chart(facts.epochs),
            "blocks": blocks_chart(facts.blocks),
            "devices": devices_chart(facts.devices),
        },
        "renderer": "canvas" if history and len(history.scored) > MOST_SHAPES else "svg",
        "pictures": pictures,
        "commands": _commands(facts),
        "recipe": json.dumps(dict(card.recipe.supernet_recipe), ensure_ascii=False, indent=1)[:4000],
    }


def _trained(card: ModelCard) -> bool:
    """Whether the network is a fine-tuned one, no longer that of its search."""
    return card.head is not None and card.head.trained


def _times(facts: Facts) -> tuple[float | None, float | None]:
    """Measured and predicted milliseconds of the package's first artefact; None for what is not known.

    The times of the search are those of another network once this one was trained with a head, or at another size.
    """
    card = facts.card
    first = card.reports[0] if card.reports else None
    measured_ms = first.measured.median_ms if first and first.measured else None
    predicted_ms = first.predicted_ms if first else None
    last = card.recipe.tries[-1] if card.recipe.tries else None
    if last is not None and last.architecture == card.architecture and not _trained(card):
        measured_ms = last.measured_ms if measured_ms is None else measured_ms
        predicted_ms = last.predicted_ms if predicted_ms is None else predicted_ms
    own = next((one for one in facts.devices if one.device == card.recipe.device.id), None)
    if predicted_ms is None and own is not None:
        predicted_ms = own.predicted_ms
    return measured_ms, predicted_ms


_TASKS = {
    "cls": "image features for classification",
    "det": "features for detection",
    "seg": "features for segmentation",
}
_WHOLE = {"cls": "A classifier", "det": "An object detector", "seg": "A segmenter"}


def _sentence(facts: Facts, measured_ms: float | None, predicted_ms: float | None) -> str:
    """What it is, at which size, how large and how fast."""
    card, head = facts.card, facts.card.head
    height, width = card.preprocess.size_px
    size = f"{facts.params / 1e6:.2f} million parameters" if facts.params else f"a {cut(card.architecture.net)} network"
    what = _TASKS[str(card.task)]
    what = f"A network that computes {what}"
    if head is not None:
        classes = f"{len(head.classes)} class{'' if len(head.classes) == 1 else 'es'}"
        what = f"{_WHOLE[str(head.task)]} for {classes}"
        what += "" if head.trained else ", not trained yet (zoo finetune does that)"
    chip = cut(card.recipe.device.chip)
    if measured_ms is not None:
        timed_here = card.reports and card.reports[0].device == card.recipe.device.id
        time = f"One image takes {measured_ms:.3g} ms, measured on {chip if timed_here else 'the machine that made it'}"
    elif predicted_ms is not None:
        time = f"One image is predicted to take {predicted_ms:.3g} ms on {chip}"
    else:
        time = f"It was not timed on {chip}"
    return f"{what}. It takes images of {width} x {height} pixels and has {size}. {time}."


def _verdict(facts: Facts, measured_ms: float | None, predicted_ms: float | None) -> str | None:
    """Whether the search's budget is met, and how far the prediction was off."""
    history, last = facts.history, facts.card.recipe.tries[-1] if facts.card.recipe.tries else None
    if history is None or history.budget_ms is None or last is None or _trained(facts.card):
        return None
    took_ms, how = (last.measured_ms, "measured") if last.measured_ms is not None else (last.predicted_ms, "predicted")
    met = "meets its" if took_ms <= history.budget_ms else "misses its"
    text = f"The search's network {met} budget of {history.budget_ms:g} ms: {took_ms:.3g} ms {how}."
    if last.measured_ms is None:
        return text
    off_percent = 100 * (last.predicted_ms / last.measured_ms - 1)
    side = "above" if off_percent > 0 else "below"
    return f"{text} The prediction was {last.predicted_ms:.3g} ms, {abs(off_percent):.0f} % {side} that."


def _bought(facts: Facts) -> list[str]:
    """What a smaller and a larger budget would have bought, by what the search saw."""
    history, tries = facts.history, facts.card.recipe.tries
    if history is None or not tries or not history.scored:
        return []
    pick, lines = tries[-1], []
    for share, words in ((0.95, "5 % less time"), (0.8, "20 % less time")):
        below = [(ms, score) for ms, score in history.scored if ms <= share * pick.predicted_ms]
        if below:
            ms, score = max(below, key=lambda one: one[1])
            lines.append(f"{words}: {ms:.3g} ms would buy a score of {score:.4f} ({score - pick.score:+.4f}).")
    above = [(ms, score) for ms, score in history.scored if ms > 1.01 * pick.predicted_ms]
    if above:
        ms, score = max(above, key=lambda one: one[1])
        more = f"would buy a score of {score:.4f} ({score - pick.score:+.4f})" if score > pick.score else "buys no more"
        lines.append(f"More time: {ms:.3g} ms {more}.")
    else:
        lines.append("More time: the search looked at nothing slower; a search with a larger budget does.")
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
    evaluate = f"zoo evaluate {folder} --train labelled/train --test labelled/test --json > evaluation.json"
    trained = _trained(card)
    return {
        "search": f"{again} --supernet {shlex.quote(cut(card.recipe.supernet))} --seed {card.recipe.seed} -o again",
        "export": f"zoo export {folder} --target edge --calibration photos -o my-edge",
        "finetune": f"zoo finetune {folder} --data labelled -o my-finetuned",
        "evaluate": f"zoo evaluate {folder} --data labelled" if trained else evaluate,
        "evaluated": "" if trained else f"zoo report {folder} --evaluation evaluation.json --overwrite",
        "images": f"zoo report {folder} --images photos --overwrite",
        "measure": f"zoo devices measure --net {cut(net)} --resolution {px}",
        "use": f'import zoo\n\nmodel = zoo.get("{folder}")\n'
        + (
            'found = model.predict("photo.jpg")'
            if trained
            else 'x = model.preprocess(["photo.jpg"])\nembedding = model(x)'
        ),
    }
