"""Charts: Vega-Lite specifications as plain values; the page draws them in its own colors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo.report.facts import BlockTime, DeviceTime, Facts
from zoo.types import Try

Spec = dict[str, Any]
# More points than this are drawn as one picture rather than as shapes.
MOST_SHAPES = 2_000

_SCORE = "score: agreement with the largest network"


def front_chart(facts: Facts) -> Spec | None:
    """Score against predicted milliseconds: all that was scored, the front, the pick and the budget."""
    history = facts.history
    if history is None or not history.scored:
        return None
    pick = facts.card.recipe.tries[-1] if facts.card.recipe.tries else None
    ms: Spec = {"field": "ms", "type": "quantitative", "title": "predicted ms", "scale": {"zero": False}}
    score: Spec = {"field": "score", "type": "quantitative", "title": _SCORE, "scale": {"zero": False}}
    tooltip = [{"field": field, "format": ".4f"} for field in ("ms", "score")]
    encoding = {"x": ms, "y": score, "tooltip": tooltip}
    layers: list[Spec] = [
        {
            "data": {"values": [{"ms": ms, "score": score} for ms, score in history.scored]},
            "mark": {"type": "circle", "opacity": 0.35, "size": 22},
            "encoding": encoding,
            "params": [{"name": "zoom", "select": "interval", "bind": "scales"}],
        },
        {
            "data": {"values": [{"ms": row.predicted_ms, "score": row.score} for row in history.front]},
            "mark": {"type": "line", "point": {"size": 40}},
            "encoding": encoding,
        },
    ]
    if pick is not None:
        layers.append(_pick(pick, encoding))
    if history.budget_ms is not None:
        layers.append(
            {
                "data": {"values": [{"ms": history.budget_ms}]},
                "mark": {"type": "rule", "strokeDash": [4, 4]},
                "encoding": {"x": ms, "tooltip": [{"field": "ms", "title": "budget, ms"}]},
            }
        )
    return {"height": 320, "layer": layers}


def _pick(pick: Try, encoding: Spec) -> Spec:
    return {
        "data": {"values": [{"ms": pick.predicted_ms, "score": pick.score}]},
        "mark": {"type": "point", "shape": "diamond", "size": 220, "filled": True, "color": "#d9480f"},
        "encoding": encoding,
    }


def blocks_chart(blocks: Sequence[BlockTime]) -> Spec | None:
    """Where the milliseconds go, from the input at the top to the output."""
    if not blocks:
        return None
    return {
        "height": {"step": 15},
        "data": {"values": [{"n": f"{b.place + 1}", "block": b.block, "ms": b.ms} for b in blocks]},
        "mark": {"type": "bar"},
        "encoding": {
            "y": {"field": "n", "type": "nominal", "sort": None, "title": "block"},
            "x": {"field": "ms", "type": "quantitative", "title": "ms"},
            "tooltip": [{"field": "block"}, {"field": "ms", "format": ".4f"}],
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
            "color": {"field": "package", "type": "nominal", "legend": {"orient": "bottom", "columns": 1}},
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
