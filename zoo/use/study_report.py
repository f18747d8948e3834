"""Study report: the page and the plots of a study, from its table alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hardware_profiles.replace_file import replace_file
from search.study.analysis import BOTH, LEAST, Interval, Metric, Study
from search.study.plan import TABLE, Row, read_table
from zoo.errors import BadRequest
from zoo.plots import new_figure, save_figure

PAGE, SOURCE_PNG, TIME_PNG = "report.md", "source.png", "time.png"
Rows = list[list[str]]


def write_report(table: Path, out: Path | None = None) -> Path:
    """Write ``report.md`` and two plots; returns the page.

    Args:
        table: a study's folder, or its table.
        out: a folder for them; beside the table where None.

    Raises:
        BadRequest: there is no table, or it holds no answer.
    """
    path = table / TABLE if table.is_dir() else table
    try:
        rows = read_table(path)
    except (OSError, ValueError) as error:
        raise BadRequest(f"{path} cannot be read as a study's table ({error}); name a study's folder") from None
    study = Study(rows)
    if not study.variants or not study.sets:
        raise BadRequest(f"{path} holds no network with all answers; run the study on: zoo study ... -o {path.parent}")
    folder = out or path.parent
    folder.mkdir(parents=True, exist_ok=True)
    plot_source(study, folder / SOURCE_PNG)
    plot_time(study, folder / TIME_PNG)
    parts = [f"# A study of {len(study.variants)} networks on {len(study.sets)} sets", finding(study)]
    for metric in ("linear", "knn"):
        for caption, heading, lines in tables(Study(rows, metric)):
            parts.append(f"{caption}\n\n" + "\n".join(_markdown([heading, ["---"] * len(heading), *lines])))
    parts += [
        f"![Source and downstream]({SOURCE_PNG})",
        f"![Accuracy and milliseconds]({TIME_PNG})",
        *_gaps(rows, study),
    ]
    return replace_file(folder / PAGE, "\n\n".join(parts) + "\n")


def finding(study: Study) -> str:
    """How many networks win, what of it is chance, and how the order of networks carries over from the source."""
    winners = study.winners()
    different, level = len({one.variant for one in winners}), [one.level for one in winners]
    lines = (
        f"{different} different networks are best on {len(winners)} sets, though the test images do not tell"
        f" {min(level)} to {max(level)} others from the best one."
    )
    found = [one for one in study.agreements() if one.family == BOTH] or study.agreements()
    if not found:
        return lines
    low, high = (pick(found, key=lambda one: one.spearman.value) for pick in (min, max))
    means = {family: study.mean_agreement(family) for family, names in study.families.items() if len(names) >= LEAST}
    parts = "; ".join(f"{family} {mean}" for family, mean in means.items())
    return (
        f"{lines} Over {found[0].networks} networks, accuracy on {study.source or 'the other sets'} orders them as"
        f" {high.set} does by Spearman's {high.spearman}, but as {low.set} does by {low.spearman}. Mean over the sets:"
        f" {parts}."
    )


def tables(study: Study) -> list[tuple[str, list[str], Rows]]:
    """Caption, columns and rows of each table of the page."""
    by, against = _METRICS[study.metric], study.source or "the mean of the other sets"
    agreements = [
        [
            *(one.family, one.set, str(one.networks), f"{100 * one.real:.0f} %"),
            *map(str, (one.spearman, one.kendall, one.pearson)),
        ]
        for one in study.agreements()
    ]
    winners = [
        [
            *(one.set, one.variant, one.accuracy.percent(), f"{one.ms:.3f}", str(one.level)),
            "" if one.place_of_source is None else str(one.place_of_source),
            one.searched or "none as fast",
            "" if one.gain is None else _points(one.gain),
        ]
        for one in study.winners()
    ]
    sizes = [
        [one.family, str(one.networks), *map(str, (one.params, one.ms, one.early_at_params, one.early_at_ms))]
        for one in study.sizes()
    ]
    return [
        (
            f"{by}: how accuracy on {against} goes with accuracy on each set (95 % by bootstrap over networks);"
            " the real part of how accuracies vary is more than the chance of so few test images",
            ["family", "set", "networks", "real part", "Spearman", "Kendall tau-b", "Pearson"],
            agreements,
        ),
        (
            f"{by}: the best variant of each set, how many others the test images do not tell from it, where the best"
            f" one on {against} stands, and the best searched network of at most its milliseconds",
            ["set", "best", "accuracy", "ms", "level with it", "place of the source's best", "searched", "points more"],
            winners,
        ),
        (
            f"{by}: rank correlation with accuracy, mean over the sets: of size, and of the share of parameters in the"
            " first two stages at equal size",
            ["family", "networks", "parameters", "ms", "early share, equal parameters", "early share, equal ms"],
            sizes,
        ),
    ]


_METRICS: dict[Metric, str] = {"linear": "Linear classifier", "knn": "k-NN"}


def plot_source(study: Study, path: Path) -> None:
    """Accuracy on each set against that on the source, a dot a network."""
    _plot(study, path, lambda names, one: study.reference(names, one), f"on {study.source or 'the other sets'}")


def plot_time(study: Study, path: Path) -> None:
    """Accuracy on each set against milliseconds, a dot a network."""
    _plot(study, path, lambda names, one: np.array([study.row(name, one).ms for name in names]), "predicted ms")


def _plot(study: Study, path: Path, across: Callable[[Sequence[str], str], Any], label: str) -> None:
    columns = min(4, len(study.sets))
    lines = -(-len(study.sets) // columns)
    figure = new_figure(2.6 * columns, 2.4 * lines + 0.4)
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    groups = {**{f: n for f, n in study.families.items() if f != BOTH}, "searched": study.searched}
    for axes, one in zip(grid, study.sets, strict=False):
        for (family, names), marker in zip(groups.items(), ("o", "s", "*"), strict=False):
            if names:
                axes.plot(
                    across(names, one), study.accuracies(names, one), marker, label=family, markersize=4, alpha=0.8
                )
        axes.set_title(one, fontsize=9)
        axes.set_xlabel(label, fontsize=8)
        axes.tick_params(labelsize=7)
    for axes in grid[len(study.sets) :]:
        axes.axis("off")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8)
    save_figure(figure, path)


def _points(gain: Interval) -> str:
    return f"{100 * gain.value:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"


def _gaps(rows: Sequence[Row], study: Study) -> list[str]:
    """What is missing, and why."""
    lines = [f"- {row.variant} on {row.set}: {row.reason}" for row in rows if row.reason]
    if study.left_out:
        lines.append(f"- left out of all tables, for they lack an answer: {', '.join(study.left_out)}")
    return ["Missing:\n\n" + "\n".join(lines)] if lines else []


def _markdown(rows: Rows) -> list[str]:
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
