"""Benchmark: every artefact of a package on this machine, at several numbers of threads and batch sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from export.types import ExportReport
from export.verify.contained import ContainedRunner, GraphError
from hardware_profiles.runners import OnnxRunner
from hardware_profiles.timing.timing import time_runners
from zoo.checks import Count, Threads
from zoo.errors import BadPackage
from zoo.names import printable
from zoo.package.bounds import check_bounds
from zoo.package.card import read_card, read_manifest
from zoo.package.manifest import read_checked
from zoo.plots import new_figure, save_figure
from zoo.progress import Watch, watching
from zoo.types import Progress

_RUNNABLE = (".onnx", ".ort")
_ROUNDS = 16  # turns a model, as a table takes (``hardware_profiles.measure.table.ROUNDS``)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One artefact at one number of threads and one batch size, on this machine.

    Args:
        images_per_s: at the median.
        is_fastest: of all artefacts at these threads and this batch size.
    """

    file: str
    format: str
    precision: str
    threads: int
    batch: int
    median_ms: float
    p90_ms: float
    samples: int
    images_per_s: float
    is_fastest: bool


def benchmark(
    folder: str | Path,
    *,
    threads: Sequence[Threads] | None = None,
    batches: Sequence[Count] = (1, 8),
    rounds: Count = _ROUNDS,
    progress: Watch = "auto",
) -> tuple[Row, ...]:
    """Time all artefacts of a package, in turns, so that what else the machine does hits all of them alike.

    Args:
        folder: the package.
        threads: numbers of threads; None takes 1, 2, 4 ... up to the machine's cores.
        batches: sizes to try where an artefact takes any; one with a fixed batch is timed at its own only.
        rounds: turns of each; its quietest one counts.
        progress: ``auto`` (bars or lines, as fits), None, or a function called with (stage, done, all).

    Raises:
        BadPackage: an artefact is missing or damaged, or none can run on a CPU.
    """
    progress = watching(progress)
    folder = Path(folder)
    reports = [report for report in read_card(folder).reports if report.path.suffix in _RUNNABLE]
    if not reports:
        raise BadPackage(f"{folder} has no {' or '.join(_RUNNABLE)} artefact to time; export it again")
    card, manifest = read_manifest(folder)
    check_bounds(replace(card, reports=tuple(reports)), manifest)
    for report in reports:
        read_checked(folder, report.path.as_posix(), manifest)
        for batch in sorted({size for size in _batches(report, batches)}):
            _try(folder, report, batch)
    rows: list[Row] = []
    counts = list(threads or _powers_up_to_cores())
    for done, count in enumerate(counts):
        tell = partial(_tell, progress, done * rounds, len(counts) * rounds)
        rows += _at(folder, reports, count, batches, rounds, tell)
    return tuple(rows)


def _at(
    folder: Path,
    reports: list[ExportReport],
    threads: int,
    batches: Sequence[int],
    rounds: int,
    tell: Callable[[int], None],
) -> list[Row]:
    cases = [(report, batch) for report in reports for batch in _batches(report, batches)]
    subjects = [
        (partial(OnnxRunner, folder / report.path, threads=threads), {"input": _input(report, batch)})
        for report, batch in cases
    ]
    timed = list(zip(cases, time_runners(subjects, rounds=rounds, progress=tell), strict=True))
    best_ms = {batch: min(t.median_ms for (_, b), t in timed if b == batch) for _, batch in cases}
    return [
        Row(
            file=report.path.as_posix(),
            format=report.target.format,
            precision=report.target.precision,
            threads=threads,
            batch=batch,
            median_ms=latency.median_ms,
            p90_ms=latency.p90_ms,
            samples=latency.samples,
            images_per_s=1000 * batch / latency.median_ms,
            is_fastest=latency.median_ms == best_ms[batch],
        )
        for (report, batch), latency in timed
    ]


def _try(folder: Path, report: ExportReport, batch: int) -> None:
    """Run it once where it can do no harm, on what it is timed on: the package may be a stranger's."""
    fed = _input(report, batch)
    try:
        with ContainedRunner(folder / report.path, input_bytes=fed.nbytes) as runner:
            runner.run({"input": fed})
    except GraphError as error:
        reason = printable(str(error))
        raise BadPackage(f"{report.path.as_posix()} cannot be run: {reason}; get the package again") from None


def _batches(report: ExportReport, asked: Sequence[int]) -> Sequence[int]:
    return asked if report.target.dynamic_batch else (report.target.input_nchw[0],)


def _input(report: ExportReport, batch: int) -> NDArray[Any]:
    _, c, h, w = report.target.input_nchw
    rng = np.random.default_rng(0)
    if report.target.uint8_input:
        return rng.integers(0, 256, (batch, h, w, c), dtype=np.uint8)
    return rng.standard_normal((batch, c, h, w), dtype=np.float32)


def _powers_up_to_cores() -> list[int]:
    cores = psutil.cpu_count(logical=False) or 1
    return [2**i for i in range(cores.bit_length()) if 2**i <= cores]


def _tell(progress: Progress, before: int, total: int, turn: int) -> None:
    progress("timing", before + turn, total)


def plot_benchmark(rows: Sequence[Row], path: Path, *, title: str) -> Path:
    """Draw ``rows`` into ``path``, whose suffix is the format; returns ``path``.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    settings = list(dict.fromkeys((row.threads, row.batch) for row in rows))
    files = list(dict.fromkeys(row.file for row in rows))
    figure = new_figure(1.5 + 1.6 * len(settings), 3.6)
    axes = figure.add_subplot()
    width = 0.8 / len(files)
    for i, file in enumerate(files):
        own = {(row.threads, row.batch): row for row in rows if row.file == file}
        places = [(j + (i + 0.5) * width - 0.4, own[at]) for j, at in enumerate(settings) if at in own]
        heights = [row.median_ms / row.batch for _, row in places]
        spread = [(row.p90_ms - row.median_ms) / row.batch for _, row in places]
        bars = axes.bar([x for x, _ in places], heights, width=width, label=file, yerr=[[0] * len(spread), spread])
        axes.bar_label(bars, fmt="%.2f", fontsize=6)
    axes.set_xticks(range(len(settings)), [f"{threads} thread(s)\nbatch {batch}" for threads, batch in settings])
    axes.set_ylabel("ms an image (median; line to p90)")
    axes.set_title(title, fontsize=8, loc="left")
    figure.legend(*axes.get_legend_handles_labels(), fontsize=7, frameon=False, loc="outside lower center", ncols=2)
    return save_figure(figure, path)
