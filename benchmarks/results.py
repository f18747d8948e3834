"""Results: RESULTS.md, made of what the benchmarks keep in benchmarks/runs, a section a file.

    python benchmarks/results.py            # writes RESULTS.md
    python benchmarks/results.py --check    # ends with 1 where RESULTS.md is not what the kept files make

A benchmark keeps what it found by ``keep("its_name", Section(...))``; a long one's single runs may lie beside it as
``its_name.jsonl`` (see runs.py), and the section names that file.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs", HERE / "RESULTS.md"
MOST_BYTES = 200_000
HEAD = """# Results

Every figure that this project states, with the command that gives it. Each section is made of a file in
[runs/](runs) that its command keeps; `python benchmarks/results.py` writes this page from them. What a command needs
besides the repository is named in its line. All figures of a section are of one machine; where that machine did other
work at the same time, the text says so.
"""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a section.

    Args:
        caption: one line above it; may be empty.
        columns: their headings.
        rows: texts or numbers, as many a row as there are columns.
    """

    caption: str
    columns: list[str]
    rows: list[list[str | int | float | None]]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.caption!r} has {len(self.columns)} columns, a row of it {len(row)} cells"
                )


@dataclass(frozen=True, kw_only=True)
class Section:
    """What one benchmark found.

    Args:
        title: of the section.
        order: the sections stand by it, then by file name.
        command: gives the figures; several are one a line.
        machine: on what, with runtime, threads and precision.
        date: of the run, as 2026-11-28.
        text: what it shows and what failed, Markdown.
        tables: none where a sentence says it all.
    """

    title: str
    order: int
    command: str
    machine: str
    date: str
    text: str
    tables: list[Table]


def keep(name: str, section: Section) -> Path:
    """Keep ``section`` as runs/NAME.json and write RESULTS.md anew; returns the file."""
    RUNS.mkdir(exist_ok=True)
    file = RUNS / f"{name}.json"
    file.write_text(json.dumps(asdict(section), indent=1, ensure_ascii=False) + "\n", "utf-8")
    RESULTS.write_text(page(), "utf-8")
    print(f"kept in {file}", file=sys.stderr)
    return file


def read_section(file: Path) -> Section:
    """A kept file.

    Raises:
        ValueError: it is too large, no JSON, or lacks a field or has one too many.
    """
    if file.stat().st_size > MOST_BYTES:
        raise ValueError(f"{file.name} has {file.stat().st_size} bytes, at most {MOST_BYTES} are kept; keep a summary")
    found = json.loads(file.read_text("utf-8"))
    for kind, values in ((Section, [found]), (Table, found.get("tables", []))):
        wanted = {field.name for field in fields(kind)}
        for value in values:
            if set(value) != wanted:
                raise ValueError(f"{file.name}: {kind.__name__} has {sorted(value)}, needs {sorted(wanted)}")
    return Section(**{**found, "tables": [Table(**table) for table in found["tables"]]})


def page(folder: Path = RUNS) -> str:
    """RESULTS.md as the kept files make it."""
    files = sorted(folder.glob("*.json"))
    sections = sorted(((read_section(file), file) for file in files), key=lambda one: (one[0].order, one[1].name))
    return "\n".join([HEAD, *(_section(section, file) for section, file in sections)])


def _section(section: Section, file: Path) -> str:
    commands = "\n".join(f"    {line}" for line in section.command.splitlines())
    runs = file.with_suffix(".jsonl")
    raw = f" Single runs: [{runs.name}](runs/{runs.name})." if runs.exists() else ""
    parts = [f"## {section.title}", commands, section.text.strip(), *map(_table, section.tables)]
    parts.append(f"*{section.machine}; {section.date}.*{raw}")
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(table: Table) -> str:
    rows = [table.columns, ["---"] * len(table.columns), *table.rows]
    lines = "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in rows)
    return f"{table.caption}\n\n{lines}" if table.caption else lines


def _cell(value: str | int | float | None) -> str:
    return "" if value is None else str(value).replace("|", "\\|").replace("\n", " ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    text = page()
    if not args.check:
        RESULTS.write_text(text, "utf-8")
    elif text != RESULTS.read_text("utf-8"):
        sys.exit("RESULTS.md is not what benchmarks/runs makes; run: python benchmarks/results.py")


if __name__ == "__main__":
    main()
