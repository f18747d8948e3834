"""Catalogue: the zoo as a page - every entry, to be filtered by task, device and budget."""

from __future__ import annotations

from pathlib import Path

from zoo.catalogue import load_entries
from zoo.report.charts import catalogue_chart
from zoo.report.page import check_page, render, write_page


def report_catalogue(out: str | Path, *, overwrite: bool = False) -> Path:
    """Write the catalogue as one HTML page that needs no network; returns the file.

    Raises:
        OutputExists: the file is there already, or cannot be written.
        BadCatalogue: the catalogue's file is damaged.
    """
    out = Path(out)
    check_page(out, overwrite=overwrite)
    entries = load_entries()
    # A network of cells was not chosen among others by score.
    points = [(e.name, str(e.task), e.device, e.predicted_ms, e.score) for e in entries if e.net != "cell"]
    values = {
        "entries": entries,
        "tasks": sorted({str(entry.task) for entry in entries}),
        "devices": sorted({entry.device for entry in entries}),
        "chart": catalogue_chart(points),
    }
    return write_page(render("catalogue.html.jinja", values), out)
