"""A delivery as a page for people: what was made, how exact, how fast, what was refused, which to take."""

from __future__ import annotations

from export.delivery import Delivered
from export.types import ExportReport

_HEAD = (
    "file",
    "precision",
    "MB",
    "median ms",
    "p90 ms",
    "samples",
    "predicted ms",
    "peak MiB",
    "agreement",
    "smallest cosine",
    "relative L2",
    "PSNR dB",
    "atol needed",
)


def render_page(delivered: Delivered, *, title: str) -> str:
    """Return the page as Markdown.

    Args:
        delivered: what ``deliver`` returned.
        title: its first line.
    """
    lines = [f"# {title}", ""]
    if (best := delivered.recommended) is not None and best.measured is not None:
        lines += [f"Take `{best.path.name}`: the fastest that passed, {best.measured.median_ms:.3f} ms.", ""]
    if delivered.reports:
        first = delivered.reports[0]
        lines += [
            f"Compared with torch fp32 on {first.comparison.images} images; timed on {first.device}, {first.threads}"
            f" thread(s), batch {first.target.input_nchw[0]}. The last four columns are the worst of all outputs.",
            "",
            _row(_HEAD),
            _row(["---"] * len(_HEAD)),
            *(_row(_cells(report)) for report in (*delivered.reports, *delivered.engines)),
            "",
        ]
    facts = [f"`{report.path.name}`: {note}" for report in delivered.reports for note in report.notes]
    facts += [
        f"`{report.path.name}` was timed on {report.device}, batch {report.target.input_nchw[0]}, without copies."
        for report in delivered.engines
    ]
    facts += [f"Refused: {sentence}" for sentence in delivered.refused]
    facts += list(delivered.notes)
    if delivered.drift is not None:
        facts.append(f"Calibration images move the channels' means by {delivered.drift:.2f} standard deviations.")
    lines += [f"- {fact}" for fact in facts]
    return "\n".join(lines).rstrip() + "\n"


def _cells(report: ExportReport) -> list[str]:
    outputs, seen, timed = report.comparison.outputs, report.comparison.agreement, report.measured
    return [
        f"`{report.path.name}`",
        report.target.precision,
        f"{report.bytes / 1e6:.2f}",
        f"{timed.median_ms:.3f}" if timed else "-",
        f"{timed.p90_ms:.3f}" if timed else "-",
        str(timed.samples) if timed else "-",
        f"{report.predicted_ms:.3f}" if report.predicted_ms is not None else "-",
        f"{report.peak_memory_bytes / 2**20:.2f}" if report.peak_memory_bytes is not None else "-",
        f"{100 * seen:.1f} %" if seen is not None else "-",
        f"{min(output.min_cosine for output in outputs):.7f}",
        f"{max(output.relative_l2 for output in outputs):.2g}",
        f"{min(output.psnr_db for output in outputs):.1f}",
        f"{max(output.needed_atol for output in outputs):.2g}",
    ]


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
