"""Charts: Vega-Lite specifications as plain values; the page draws them in its own colors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo.report.facts import BlockTime, DeviceTime, Epoch, Facts
from zoo.types import Try

Spec = dict[str, Any]
# More points than this are drawn as one picture rather than as shapes.
MOST_SHAPES = 2_000

_SCORE = "score (without your labels)"
_MS: Spec = {"field": "ms", "type": "quantitative", "title": "predicted ms", "scale": {"zero": False, "padding": 14}}
_SCORES: Spec = {"field": "score", "type": "quantitative", "title": _SCORE, "scale": {"zero": False, "padding": 10}}
_BELOW: Spec = {"orient": "bottom", "columns": 1, "labelLimit": 300}
# Stands out on a light and on a dark page.
_WARM = "#d9480f"
_HEIGHT = 320


def front_chart(facts: Facts) -> Spec | None:
    """Score against predicted milliseconds: all that was scored, the front, the pick and the budget."""
    history = facts.history
    if history is None or len(history.scored) < 2:
        return None
    pick = facts.card.recipe.tries[-1] if facts.card.recipe.tries else None
    tooltip = [{"field": field, "format": ".4f"} for field in ("ms", "score")]
    encoding = {"x": _MS, "y": _SCORES, "tooltip": tooltip}
    layers: list[Spec] = [
        {
            "data": {"values": [{"ms": ms, "score": score} for ms, score in history.scored]},
            "mark": {"type": "circle", "opacity": 0.55, "size": 22},
            "encoding": encoding,
            "params": [{"name": "zoom", "select": "interval", "bind": "scales"}],
        },
        {
            "data": {"values": [{"ms": row.predicted_ms, "score": row.score} for row in history.front]},
            "mark": {"type": "line", "point": {"size": 40}},
            "encoding": encoding,
        },
    ]
    if history.budget_ms is not None:
        layers += _budget(history.budget_ms)
    if pick is not None:
        layers += _pick(pick, encoding)
    return {"height": _HEIGHT, "layer": layers}


def _budget(budget_ms: float) -> list[Spec]:
    data = {"values": [{"ms": budget_ms, "text": f"budget {budget_ms:g} ms"}]}
    tooltip = [{"field": "text", "title": "limit"}]
    label = {"type": "text", "align": "right", "baseline": "bottom", "dx": -5, "dy": -3}
    return [
        {"data": data, "mark": {"type": "rule", "strokeDash": [4, 4]}, "encoding": {"x": _MS, "tooltip": tooltip}},
        {"data": data, "mark": label, "encoding": {"x": _MS, "y": {"value": _HEIGHT}, "text": {"field": "text"}}},
    ]


def _pick(pick: Try, encoding: Spec) -> list[Spec]:
    data = {"values": [{"ms": pick.predicted_ms, "score": pick.score, "text": "this network"}]}
    label = {"type": "text", "align": "left", "dx": 12, "fontWeight": "bold"}
    return [
        {
            "data": data,
            "mark": {"type": "point", "shape": "diamond", "size": 220, "filled": True, "color": _WARM, "opacity": 1},
            "encoding": encoding,
        },
        {"data": data, "mark": label, "encoding": {**encoding, "text": {"field": "text"}}},
    ]


def fronts_chart(searches: Sequence[tuple[str, Facts]]) -> Spec | None:
    """The fronts of several searches of one supernet on the same images; None where they cannot be compared."""
    kept = [(name, facts) for name, facts in searches if facts.history is not None and facts.history.front]
    cards = [facts.card for _, facts in kept]
    alike = {(c.recipe.supernet_sha256, c.images.fingerprint, c.task, c.architecture.resolution_px) for c in cards}
    if len(kept) < 2 or len(alike) != 1:
        return None
    rows = [
        {"package": name, "ms": row.predicted_ms, "score": row.score}
        for name, facts in kept
        for row in (facts.history.front if facts.history else ())
    ]
    return {
        "height": 300,
        "data": {"values": rows},
        "mark": {"type": "line", "point": {"size": 40}},
        "encoding": {
            "x": {**_MS, "scale": {"type": "log"}, "title": "predicted ms, each on its own device"},
            "y": _SCORES,
            "color": {"field": "package", "type": "nominal", "legend": _BELOW},
            "tooltip": [{"field": "package"}, *({"field": field, "format": ".4f"} for field in ("ms", "score"))],
        },
    }


def epochs_chart(epochs: Sequence[Epoch]) -> Spec | None:
    """The validation score of a fine-tuning by epoch, the best one marked."""
    if not epochs:
        return None
    best = max(epochs, key=lambda one: one.score)
    rows = [{"epoch": one.epoch, "score": one.score, "loss": one.loss} for one in epochs]
    tooltip = [{"field": "epoch"}, {"field": "score", "format": ".4f"}, {"field": "loss", "format": ".4f"}]
    encoding = {
        "x": {"field": "epoch", "type": "quantitative", "title": "epoch", "axis": {"tickMinStep": 1}},
        "y": {"field": "score", "type": "quantitative", "title": f"{best.metric} on the validation images"},
        "tooltip": tooltip,
    }
    return {
        "height": 240,
        "data": {"values": rows},
        "layer": [
            {"mark": {"type": "line", "point": {"size": 30}}, "encoding": encoding},
            {
                "transform": [{"filter": {"field": "epoch", "equal": best.epoch}}],
                "mark": {
                    "type": "point",
                    "shape": "diamond",
                    "size": 200,
                    "filled": True,
                    "color": _WARM,
                    "opacity": 1,
                },
                "encoding": encoding,
            },
        ],
    }


def blocks_chart(blocks: Sequence[BlockTime]) -> Spec | None:
    """Where the milliseconds go, from the input at the top to the output."""
    if not blocks:
        return None
    rows = [{"block": f"{b.place + 1}  {b.block}", "part": b.part, "ms": b.ms} for b in blocks]
    color = {"field": "part", "type": "nominal", "title": None, "legend": {"orient": "top"}}
    return {
        "height": {"step": 17},
        "data": {"values": rows},
        "mark": {"type": "bar"},
        "encoding": {
            "y": {"field": "block", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 230}},
            "x": {"field": "ms", "type": "quantitative", "title": "ms"},
            "tooltip": [{"field": "block"}, {"field": "part"}, {"field": "ms", "format": ".4f"}],
            **({"color": color} if len({b.part for b in blocks}) > 1 else {}),
        },
    }


def devices_chart(devices: Sequence[DeviceTime]) -> Spec | None:
    """The network's predicted time on every device that has a table for it; a logarithmic axis."""
    if not devices:
        return None
    rows = [{"device": one.device, "ms": one.predicted_ms, "table": one.source} for one in devices]
    return {
        "height": {"step": 18},
        "data": {"values": rows},
        "mark": {"type": "circle", "size": 90, "opacity": 1},
        "encoding": {
            "y": {"field": "device", "type": "nominal", "sort": None, "title": None},
            "x": {"field": "ms", "type": "quantitative", "scale": {"type": "log"}, "title": "predicted ms"},
            "color": {"field": "table", "type": "nominal", "legend": {"orient": "bottom"}},
            "tooltip": [{"field": "device"}, {"field": "ms", "format": ".3f"}, {"field": "table"}],
        },
    }


def compare_chart(pages: Sequence[tuple[str, float | None, float | None]]) -> Spec | None:
    """Size in MB against milliseconds, a point a package."""
    rows = [{"package": name, "ms": ms, "MB": mb} for name, ms, mb in pages if ms is not None and mb is not None]
    if len(rows) < 2:
        return None
    return {
        "height": 260,
        "data": {"values": rows},
        "mark": {"type": "circle", "size": 140, "opacity": 0.9},
        "encoding": {
            "x": {"field": "ms", "type": "quantitative", "title": "ms: measured, else predicted"},
            "y": {"field": "MB", "type": "quantitative", "title": "MB of the first artefact"},
            "color": {"field": "package", "type": "nominal", "legend": _BELOW},
            "tooltip": [{"field": "package"}, {"field": "ms", "format": ".3f"}, {"field": "MB", "format": ".2f"}],
        },
    }


def catalogue_chart(rows: Sequence[tuple[str, str, str, float, float]]) -> Spec:
    """(name, task, device, ms, score) of the catalogue's entries, milliseconds on a logarithmic axis."""
    keys = ("name", "task", "device", "ms", "score")
    return {
        "height": 300,
        "data": {"values": [dict(zip(keys, row, strict=True)) for row in rows]},
        "mark": {"type": "point", "filled": True, "size": 80},
        "encoding": {
            "x": {"field": "ms", "type": "quantitative", "scale": {"type": "log"}, "title": "predicted ms"},
            "y": {"field": "score", "type": "quantitative", "scale": {"zero": False}, "title": _SCORE},
            "color": {"field": "device", "type": "nominal", "legend": {"orient": "bottom", "columns": 4}},
            "shape": {"field": "task", "type": "nominal"},
            "tooltip": [{"field": key} for key in keys],
        },
    }
